// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "blocklayer/layer.hpp"
#include "blocklayer/monitor/block_info/node_info.hpp"
#include "blocklayer/monitor/command.hpp"

namespace blocklayer {
namespace {

Result<Value> query_named_block_nodes(sim::Co&, BlockLayer& layer, const Value& arguments) {
    const Chain chain = arguments.get_bool("flat", false) ? Chain::no : Chain::yes;
    std::vector<Node*> nodes = layer.nodes();
    std::reverse(nodes.begin(), nodes.end());  // newest first
    Value list = Value::list();
    for (Node* node : nodes) list.push(block_device_info(*node, nullptr, chain));
    return list;
}

const CommandRegistration registration({.name = "query-named-block-nodes",
                                        .args = {optional("flat", "bool")},
                                        .returns = "[BlockDeviceInfo]",
                                        .run = query_named_block_nodes,
                                        .source = "QAPI block-core.json"});

}  // namespace
}  // namespace blocklayer
