// SPDX-License-Identifier: Apache-2.0
#include "blocklayer/requests/throttle_group.hpp"

#include <algorithm>

#include "blocklayer/layer.hpp"
#include "sim/mutant.hpp"

namespace blocklayer {
namespace {

constexpr Direction directions[] = {Direction::read, Direction::write};

std::size_t index(Direction direction) { return static_cast<std::size_t>(direction); }

}  // namespace

// ---- one member -----------------------------------------------------------------------------

ThrottleMemberQueue::ThrottleMemberQueue(ThrottleGroup& group) : group_(group) {
    group.members_.push_back(this);
}

ThrottleMemberQueue::~ThrottleMemberQueue() {
    for (const Direction direction : directions) INVARIANT(waiting_[index(direction)].empty());
    group_.leave(*this);
}

void ThrottleMemberQueue::pass(sim::Co& co, Direction direction, std::uint64_t bytes) {
    if ((suspended_ > 0 && !sim::mutant<"throttle: drained requests wait for limits">()) ||
        !group_.limits_.any())
        return;
    const sim::World::Within anywhere(co, sim::Place());  // the group is of many nodes
    ThrottleGroup::Turn& turn = group_.turn_of(direction);
    if (turn.waiting == 0 && group_.buckets_.wait(group_.limits_, direction, co.world().now()) ==
                                 sim::nanoseconds(0)) {
        group_.buckets_.account(group_.limits_, direction, bytes);
        return;
    }
    Waiting waiting{.bytes = bytes};
    std::vector<Waiting*>& line = waiting_[index(direction)];
    line.push_back(&waiting);
    if (turn.waiting++ == 0) group_.schedule(direction);
    try {
        while (!waiting.may_go) waiting.queue.wait(co);
    } catch (...) {  // the world is closed
        if (!waiting.may_go) std::erase(line, &waiting);
        throw;
    }
}

void ThrottleMemberQueue::suspend() {
    ++suspended_;
    for (const Direction direction : directions) {
        std::vector<Waiting*>& line = waiting_[index(direction)];
        if (!sim::mutant<"throttle: who was let go still counts">())
            group_.turn_of(direction).waiting -= line.size();
        for (Waiting* waiting : line) {
            waiting->may_go = true;
            waiting->queue.wake_one();
        }
        line.clear();
        group_.hand_over(*this, direction);
    }
}

// ---- the group ------------------------------------------------------------------------------

ThrottleGroup::ThrottleGroup(sim::World& world, std::string name)
    : world_(world), name_(std::move(name)) {
    for (const Direction direction : directions)
        turn_of(direction).timer = std::make_unique<sim::Timer>(
            world, world.main_thread(), sim::Label("throttle"),
            [this, direction] { expired(direction); });
}

void ThrottleGroup::set_limits(const ThrottleLimits& limits) {
    buckets_.wait(limits_, Direction::read, world_.now());  // leaks at the old rates up to here
    limits_ = limits;
    for (const Direction direction : directions) {
        Turn& turn = turn_of(direction);
        if (!turn.timer->armed()) continue;
        if (sim::mutant<"throttle: new limits leave the timer as it is">()) continue;
        // The same member is first again.
        turn.timer->arm(world_.now() + buckets_.wait(limits_, direction, world_.now()));
    }
}

ThrottleMemberQueue* ThrottleGroup::next_waiting(Direction direction,
                                                 const ThrottleMemberQueue* after) const {
    const auto found = std::find(members_.begin(), members_.end(), after);
    const std::size_t start =
        found == members_.end() ? 0 : static_cast<std::size_t>(found - members_.begin()) + 1;
    for (std::size_t i = 0; i < members_.size(); ++i) {
        if (i > 0 && sim::mutant<"throttle: only the next member is looked at">()) break;
        ThrottleMemberQueue* member = members_[(start + i) % members_.size()];
        if (!member->waiting_[index(direction)].empty()) return member;
    }
    return nullptr;
}

void ThrottleGroup::schedule(Direction direction) {
    Turn& turn = turn_of(direction);
    ThrottleMemberQueue* next = next_waiting(direction, turn.holder);
    if (next == nullptr) return;
    turn.holder = next;
    turn.timer->arm(world_.now() + buckets_.wait(limits_, direction, world_.now()));
}

void ThrottleGroup::expired(Direction direction) {
    Turn& turn = turn_of(direction);
    auto& line = turn.holder->waiting_[index(direction)];
    INVARIANT(!line.empty());
    ThrottleMemberQueue::Waiting* first = line.front();
    line.erase(line.begin());
    --turn.waiting;
    if (!sim::mutant<"throttle: who has waited costs nothing">())
        buckets_.account(limits_, direction, first->bytes);
    first->may_go = true;
    first->queue.wake_one();
    schedule(direction);
}

void ThrottleGroup::hand_over(const ThrottleMemberQueue& member, Direction direction) {
    Turn& turn = turn_of(direction);
    if (turn.holder != &member || !turn.timer->armed()) return;
    turn.timer->cancel();
    if (!sim::mutant<"S16">()) schedule(direction);
}

void ThrottleGroup::leave(ThrottleMemberQueue& member) {
    for (const Direction direction : directions) {
        hand_over(member, direction);
        // Whose turn it is next stays: the one after the member before.
        Turn& turn = turn_of(direction);
        if (turn.holder != &member) continue;
        const auto at = std::find(members_.begin(), members_.end(), &member);
        turn.holder = at == members_.begin() ? nullptr : *(at - 1);
    }
    std::erase(members_, &member);
}

ThrottleGroups& throttle_groups(BlockLayer& layer) {
    std::any& place = layer.extensions["throttle groups"];
    if (!place.has_value()) place = std::make_shared<ThrottleGroups>();
    return *std::any_cast<std::shared_ptr<ThrottleGroups>&>(place);
}

std::shared_ptr<ThrottleGroup> find_throttle_group(BlockLayer& layer, std::string_view name) {
    const ThrottleGroups& groups = throttle_groups(layer);
    const auto found = groups.find(name);
    return found == groups.end() ? nullptr : found->second;
}

}  // namespace blocklayer
