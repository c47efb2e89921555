// SPDX-License-Identifier: Apache-2.0
// blockdev-snapshot: an existing node becomes the overlay of another, which turns read-only.
#include "blocklayer/graph/drain.hpp"
#include "blocklayer/graph/reopen.hpp"
#include "blocklayer/layer.hpp"
#include "blocklayer/monitor/command.hpp"
#include "blocklayer/monitor/lookup.hpp"
#include "blocklayer/monitor/transaction_action.hpp"
#include "blocklayer/requests/request.hpp"
#include "sim/mutant.hpp"

namespace blocklayer {
namespace {

Status check_overlay(const Node& overlay) {
    if (overlay.cumulative().used.contains(Perm::consistent_read))
        return failure("The overlay is already in use");
    if (overlay.is_filter()) return failure("Filters cannot be used as overlays");
    if (overlay.cow_child() != nullptr)
        return failure("The overlay already has a backing image");
    if (!overlay.spec().supports_backing)
        return failure("The overlay does not support backing images");
    return {};
}

class Snapshot final : public TransactionAction {
public:
    Snapshot(BlockLayer& layer, const Value& data)
        : layer_(layer),
          node_name_(data.at("node").as_string()),
          overlay_name_(data.at("overlay").as_string()) {}

    // The old top stays drained until all is decided.
    Status prepare(sim::Co& co) override {
        node_ = NodeRef(TRY(lookup_node(layer_, node_name_, node_name_)));
        drained_.emplace(co, *node_);
        Status status = put_above(co);
        if (!status) drained_->end();
        return status;
    }

    void commit(sim::Co& co) override {
        change_.commit();
        drained_->end();
        // Best effort: whoever still writes to the old top keeps it writable.
        if (!node_->read_only()) (void)Reopen::set_read_only(co, *node_, true);
    }

    void abort(sim::Co&) override {
        change_.abort();
        drained_->end();
    }

private:
    Status put_above(sim::Co& co) {
        TRY(layer_.check_blocked(*node_, op_external_snapshot));
        if (!node_->read_only() && !RequestLayer::flush(co, *node_))
            return failure("An IO error has occurred", Errno::io);
        overlay_ = NodeRef(TRY(lookup_node(layer_, overlay_name_, overlay_name_)));
        TRY(check_overlay(*overlay_));
        TRY(layer_.graph().append(change_, *overlay_, *node_, "backing", Role::cow));
        // The overlay may have writers (a mirror into it): they have come to a drained node.
        if (!sim::mutant<"S12">()) Drain::settle(co, *node_);
        return {};
    }

    BlockLayer& layer_;
    const std::string node_name_, overlay_name_;
    NodeRef node_, overlay_;
    std::optional<DrainedSection> drained_;
    Transaction change_;
};

Result<Value> blockdev_snapshot(sim::Co& co, BlockLayer& layer, const Value& arguments) {
    Snapshot snapshot(layer, arguments);
    TRY(snapshot.prepare(co));
    snapshot.commit(co);
    return Value();
}

const TypeRegistration type({.name = "BlockdevSnapshot",
                             .members = {required("node", "str"), required("overlay", "str")}});
const TransactionActionRegistration action({.type = "blockdev-snapshot",
                                            .data_type = "BlockdevSnapshot",
                                            .make = make_action<Snapshot>});
const CommandRegistration registration({.name = "blockdev-snapshot",
                                        .args = {required("node", "str"),
                                                 required("overlay", "str")},
                                        .run = blockdev_snapshot,
                                        .source = "QAPI block-core.json",
                                        .features = {"allow-write-only-overlay"}});

}  // namespace
}  // namespace blocklayer
