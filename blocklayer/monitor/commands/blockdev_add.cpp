// SPDX-License-Identifier: Apache-2.0
#include "blocklayer/layer.hpp"
#include "blocklayer/monitor/command.hpp"

namespace blocklayer {
namespace {

Result<Value> blockdev_add(sim::Co& co, BlockLayer& layer, const Value& options) {
    TRY(layer.add_monitor_node(co, options));
    return Value();
}

const CommandRegistration registration({.name = "blockdev-add",
                                        .args_type = "BlockdevOptions",
                                        .run = blockdev_add,
                                        .source = "QAPI block-core.json"});

}  // namespace
}  // namespace blocklayer
