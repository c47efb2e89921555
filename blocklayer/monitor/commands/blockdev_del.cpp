// SPDX-License-Identifier: Apache-2.0
#include "blocklayer/layer.hpp"
#include "blocklayer/monitor/command.hpp"

namespace blocklayer {
namespace {

Result<Value> blockdev_del(sim::Co& co, BlockLayer& layer, const Value& arguments) {
    TRY(layer.remove_monitor_node(co, arguments.at("node-name").as_string()));
    return Value();
}

const CommandRegistration registration({.name = "blockdev-del",
                                        .args = {required("node-name", "str")},
                                        .run = blockdev_del,
                                        .source = "QAPI block-core.json"});

}  // namespace
}  // namespace blocklayer
