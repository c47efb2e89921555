// SPDX-License-Identifier: Apache-2.0
// blockdev-snapshot: an existing node becomes the overlay of another, which turns read-only.
#include "blocklayer/graph/drain.hpp"
#include "blocklayer/graph/reopen.hpp"
#include "blocklayer/layer.hpp"
#include "blocklayer/monitor/command.hpp"
#include "blocklayer/monitor/lookup.hpp"

namespace blocklayer {
namespace {

Status check_overlay(const Node& overlay) {
    if (overlay.cumulative().used.contains(Perm::consistent_read))
        return failure("The overlay is already in use");
    if (overlay.cow_child() != nullptr || (overlay.is_filter() && overlay.filtered_child()))
        return failure("The overlay already has a backing image");
    if (!overlay.spec().supports_backing)
        return failure("The overlay does not support backing images");
    return {};
}

Result<Value> blockdev_snapshot(sim::Co& co, BlockLayer& layer, const Value& arguments) {
    const std::string& node_name = arguments.at("node").as_string();
    const std::string& overlay_name = arguments.at("overlay").as_string();
    const NodeRef node(TRY(lookup_node(layer, node_name, node_name)));

    {
        const DrainedSection drained(co, *node);
        TRY(layer.check_blocked(*node, op_external_snapshot));
        if (!node->read_only()) {
            const auto flusher = BlockBackend::make(layer, {});
            flusher->queue_when_drained = false;
            TRY(flusher->insert(*node));
            if (!flusher->flush(co)) return failure("An IO error has occurred", Errno::io);
        }
        const NodeRef overlay(TRY(lookup_node(layer, overlay_name, overlay_name)));
        TRY(check_overlay(*overlay));
        TRY(layer.graph().append(*overlay, *node, "backing", Role::cow));
    }
    // Best effort: whoever still writes to the old top keeps it writable.
    if (!node->read_only()) (void)Reopen::set_read_only(co, *node, true);
    return Value();
}

const CommandRegistration registration({.name = "blockdev-snapshot",
                                        .args = {required("node", "str"),
                                                 required("overlay", "str")},
                                        .run = blockdev_snapshot,
                                        .source = "QAPI block-core.json"});

}  // namespace
}  // namespace blocklayer
