// SPDX-License-Identifier: Apache-2.0
#include "blocklayer/graph/reopen.hpp"
#include "blocklayer/monitor/command.hpp"

namespace blocklayer {
namespace {

Result<Value> blockdev_reopen(sim::Co& co, BlockLayer& layer, const Value& arguments) {
    const Value::List& options = arguments.at("options").items();
    // The reference dies of an empty list; there is nothing to do.
    if (!options.empty()) TRY(Reopen::reopen(co, layer, options));
    return Value();
}

const CommandRegistration registration({.name = "blockdev-reopen",
                                        .args = {required("options", "[BlockdevOptions]")},
                                        .run = blockdev_reopen,
                                        .source = "QAPI block-core.json"});

}  // namespace
}  // namespace blocklayer
