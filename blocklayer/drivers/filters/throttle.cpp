// SPDX-License-Identifier: Apache-2.0
// throttle: requests wait until the limits of a group allow them.
//
// A drained section lets everything go at once: who waits in it would wait for the limits.
// source  QAPI BlockdevOptionsThrottle; texts as observed
#include "blocklayer/drivers/filters/passthrough.hpp"
#include "blocklayer/graph/open.hpp"
#include "blocklayer/layer.hpp"
#include "blocklayer/requests/throttle_group.hpp"

namespace blocklayer {
namespace {

using GroupRef = std::shared_ptr<ThrottleGroup>;

Result<GroupRef> find_group(BlockLayer& layer, const Value& options) {
    const std::string& name = options.at("throttle-group").as_string();
    GroupRef group = find_throttle_group(layer, name);
    if (group == nullptr) return failure(fmt::format("Throttle group '{}' does not exist", name));
    return group;
}

class Throttle final : public Passthrough {
public:
    Status open(sim::Co& co, OpenContext& context) override {
        TRY(context.open_child(co, "file", role_filtered));
        join(TRY(find_group(context.layer(), context.options())));
        return {};
    }

    IoStatus read(sim::Co& co, std::uint64_t offset, sim::IoView into,
                  RequestFlags flags) override {
        member_->pass(co, Direction::read, into.size());
        return below().read(co, offset, into, flags);
    }
    IoStatus write(sim::Co& co, std::uint64_t offset, sim::IoView from,
                   RequestFlags flags) override {
        member_->pass(co, Direction::write, from.size());
        return below().write(co, offset, from, flags);
    }
    IoStatus write_zeroes(sim::Co& co, std::uint64_t offset, std::uint64_t length,
                          RequestFlags flags) override {
        member_->pass(co, Direction::write, length);
        return below().write_zeroes(co, offset, length, flags);
    }
    IoStatus discard(sim::Co& co, std::uint64_t offset, std::uint64_t length) override {
        member_->pass(co, Direction::write, length);
        return below().discard(co, offset, length);
    }

    bool supports_reopen() const override { return true; }
    bool can_change_option(std::string_view name) const override {
        return name == "throttle-group";
    }
    // The node is drained: nothing waits in the group it leaves.
    Status reopen_prepare(sim::Co&, ReopenContext& context) override {
        group_after_ = TRY(find_group(context.layer(), context.options()));
        return {};
    }
    void reopen_commit(sim::Co&) override {
        if (group_after_ != group_) join(std::move(group_after_));
        group_after_.reset();
    }
    void reopen_abort(sim::Co&) override { group_after_.reset(); }

    // Over a drained node it is told before it is in a group.
    void drain_begin() override {
        if (drains_++ == 0 && member_ != nullptr) member_->suspend();
    }
    void drain_end() override {
        if (--drains_ == 0 && member_ != nullptr) member_->resume();
    }

private:
    void join(GroupRef group) {
        member_.reset();
        group_ = std::move(group);
        member_ = std::make_unique<ThrottleMemberQueue>(*group_);
        if (drains_ > 0) member_->suspend();
    }

    GroupRef group_, group_after_;
    std::unique_ptr<ThrottleMemberQueue> member_;  // of group_
    int drains_ = 0;
};

const DriverRegistration registration({
    .name = "throttle",
    .kind = DriverKind::filter,
    .options = {required("throttle-group", "str", "whose limits"),
                required("file", "BlockdevRef", "the node below")},
    .make = make_driver<Throttle>,
    .can_compress = true,
    .strong_options = {"throttle-group"},
    .source = "QAPI BlockdevOptionsThrottle",
});

}  // namespace
}  // namespace blocklayer
