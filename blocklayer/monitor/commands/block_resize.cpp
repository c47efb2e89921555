// SPDX-License-Identifier: Apache-2.0
// block_resize: through a backend of its own, which takes resize and shares everything.
#include <fmt/format.h>

#include "blocklayer/graph/drain.hpp"
#include "blocklayer/layer.hpp"
#include "blocklayer/monitor/command.hpp"
#include "blocklayer/monitor/lookup.hpp"

namespace blocklayer {
namespace {

Result<Value> block_resize(sim::Co& co, BlockLayer& layer, const Value& arguments) {
    const Value* device = arguments.find("device");
    NodeRef node(
        TRY(lookup_node(layer, arguments.get_string("device"), arguments.get_string("node-name"))));
    const std::int64_t size = arguments.at("size").as_int();
    if (size < 0) return failure("Parameter 'size' expects a >0 size");
    if (layer.blocked(*node, op_resize) != nullptr)
        return failure(fmt::format("Device '{}' is in use",
                                   device == nullptr ? "(null)" : device->as_string()));

    const auto backend = BlockBackend::make(layer, {.used = Perm::resize});
    TRY(backend->insert(*node));
    const DrainedSection drained(co, *node);
    backend->queue_when_drained = false;
    TRY(backend->truncate(co, static_cast<std::uint64_t>(size), /*exact=*/false));
    return Value();
}

const CommandRegistration registration(
    {.name = "block_resize",
     .args = {optional("device", "str"), optional("node-name", "str"), required("size", "int")},
     .run = block_resize,
     .source = "QAPI block-core.json"});

}  // namespace
}  // namespace blocklayer
