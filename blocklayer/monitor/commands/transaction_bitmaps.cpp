// SPDX-License-Identifier: Apache-2.0
// Transaction actions on dirty bitmaps: the commands of the same names, with a way back.
#include <algorithm>

#include "blocklayer/graph/dirty_bitmap.hpp"
#include "blocklayer/layer.hpp"
#include "blocklayer/monitor/command.hpp"
#include "blocklayer/monitor/lookup.hpp"
#include "blocklayer/monitor/transaction_action.hpp"
#include "sim/check.hpp"
#include "sim/mutant.hpp"

namespace blocklayer {
namespace {

// Runs a command of its own name on one bitmap; what the bitmap was is kept.
class BitmapAction : public TransactionAction {
public:
    BitmapAction(BlockLayer& layer, const Value& data) : layer_(layer), data_(data) {}

protected:
    Status run(sim::Co& co, std::string_view command) {
        TRY(find_command(command)->run(co, layer_, data_));
        return {};
    }
    // The one that prepare() dealt with: the node is kept, and nobody else may remove it.
    DirtyBitmap& bitmap() const {
        const std::string& name = data_.at("name").as_string();
        for (const auto& bitmap : node_->dirty_bitmaps())
            if (bitmap->name() == name) return *bitmap;
        throw sim::AssertionFailure("transaction: bitmap '" + name + "' is gone");
    }
    Status keep_node() {
        const std::string& name = data_.at("node").as_string();
        node_ = NodeRef(TRY(lookup_node(layer_, name, name)));
        return {};
    }

    BlockLayer& layer_;
    const Value data_;
    NodeRef node_;
};

class Add final : public BitmapAction {
public:
    using BitmapAction::BitmapAction;
    Status prepare(sim::Co& co) override {
        TRY(run(co, "block-dirty-bitmap-add"));
        return keep_node();
    }
    void abort(sim::Co&) override {
        const DirtyBitmap* added = &bitmap();
        std::erase_if(node_->dirty_bitmaps(),
                      [&](const auto& bitmap) { return bitmap.get() == added; });
    }
};

// Until the end of the transaction the bitmap is there, but busy.
class Remove final : public BitmapAction {
public:
    using BitmapAction::BitmapAction;
    Status prepare(sim::Co&) override {
        TRY(lookup_idle_bitmap(layer_, data_))->busy = true;
        return keep_node();
    }
    void commit(sim::Co&) override {
        const DirtyBitmap* removed = &bitmap();
        std::erase_if(node_->dirty_bitmaps(),
                      [&](const auto& bitmap) { return bitmap.get() == removed; });
    }
    void abort(sim::Co&) override {
        bitmap().busy = sim::mutant<"transaction: an aborted removal keeps the bitmap busy">();
    }
};

class Clear final : public BitmapAction {
public:
    using BitmapAction::BitmapAction;
    Status prepare(sim::Co& co) override {
        before_ = std::make_unique<DirtyBitmap>(*TRY(lookup_idle_bitmap(layer_, data_)));
        TRY(keep_node());
        return run(co, "block-dirty-bitmap-clear");
    }
    // What was written meanwhile stays marked.
    void abort(sim::Co&) override {
        DirtyBitmap& now = bitmap();
        if (sim::mutant<"transaction: an aborted clear forgets">()) return;
        for (auto at = before_->next_dirty(0); at;) {
            const std::uint64_t end = before_->next_clean(*at);
            now.set(*at, end - *at);
            at = end < before_->length() ? before_->next_dirty(end) : std::nullopt;
        }
    }

private:
    std::shared_ptr<DirtyBitmap> before_;
};

template <bool enable>
class SetEnabled final : public BitmapAction {
public:
    using BitmapAction::BitmapAction;
    Status prepare(sim::Co&) override {
        DirtyBitmap* found = TRY(lookup_idle_bitmap(layer_, data_));
        was_enabled_ = std::exchange(found->enabled, enable);
        return keep_node();
    }
    void abort(sim::Co&) override {
        if (!sim::mutant<"transaction: an aborted switch stays">()) bitmap().enabled = was_enabled_;
    }

private:
    bool was_enabled_ = false;
};

const TypeRegistration add_type({.name = "BlockDirtyBitmapAdd",
                                 .members = {required("node", "str"), required("name", "str"),
                                             optional("granularity", "uint32"),
                                             optional("persistent", "bool"),
                                             optional("disabled", "bool")}});

template <class Action>
TransactionActionSpec on_bitmap(std::string type, std::string data_type = "BlockDirtyBitmap") {
    return {.type = std::move(type),
            .data_type = std::move(data_type),
            .make = make_action<Action>};
}

const TransactionActionRegistration add(on_bitmap<Add>("block-dirty-bitmap-add",
                                                       "BlockDirtyBitmapAdd"));
const TransactionActionRegistration remove_one(on_bitmap<Remove>("block-dirty-bitmap-remove"));
const TransactionActionRegistration clear(on_bitmap<Clear>("block-dirty-bitmap-clear"));
const TransactionActionRegistration enable(
    on_bitmap<SetEnabled<true>>("block-dirty-bitmap-enable"));
const TransactionActionRegistration disable(
    on_bitmap<SetEnabled<false>>("block-dirty-bitmap-disable"));

}  // namespace
}  // namespace blocklayer
