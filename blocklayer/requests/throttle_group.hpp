// SPDX-License-Identifier: Apache-2.0
// ThrottleGroup: members that share limits. Of each direction one timer is armed at most, held by
// one member; when it expires, that member's oldest request goes, and the next member in turn that
// has requests waiting is looked at.
//
// invariant  the timer of a direction is armed exactly while requests wait
#pragma once
#include <array>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "blocklayer/requests/throttle_limits.hpp"
#include "sim/co.hpp"
#include "sim/sync.hpp"
#include "sim/world.hpp"

namespace blocklayer {

class BlockLayer;
class ThrottleGroup;

class ThrottleMemberQueue {
public:
    explicit ThrottleMemberQueue(ThrottleGroup& group);
    ThrottleMemberQueue(const ThrottleMemberQueue&) = delete;
    ThrottleMemberQueue& operator=(const ThrottleMemberQueue&) = delete;
    ~ThrottleMemberQueue();  // leaves the group; nothing of it waits any more

    ThrottleGroup& group() const { return group_; }
    // Waits until the request may go.
    void pass(sim::Co& co, Direction direction, std::uint64_t bytes);
    // While suspended (a drained section) its requests go at once, those that wait as well.
    void suspend();
    void resume() { --suspended_; }

private:
    friend class ThrottleGroup;
    struct Waiting {
        std::uint64_t bytes = 0;
        bool may_go = false;
        sim::WaitQueue queue{"throttle"};
    };
    ThrottleGroup& group_;
    std::array<std::vector<Waiting*>, direction_count> waiting_;  // oldest first
    int suspended_ = 0;
};

class ThrottleGroup {
public:
    ThrottleGroup(sim::World& world, std::string name);
    ThrottleGroup(const ThrottleGroup&) = delete;
    ThrottleGroup& operator=(const ThrottleGroup&) = delete;

    const std::string& name() const { return name_; }
    const ThrottleLimits& limits() const { return limits_; }
    void set_limits(const ThrottleLimits& limits);
    bool in_use() const { return !members_.empty(); }
    bool timer_armed(Direction direction) const { return turn_of(direction).timer->armed(); }

private:
    friend class ThrottleMemberQueue;
    struct Turn {  // of one direction
        ThrottleMemberQueue* holder = nullptr;  // of the timer; whose turn it is
        std::unique_ptr<sim::Timer> timer;
        std::uint64_t waiting = 0;  // requests of all members
    };
    Turn& turn_of(Direction direction) { return turns_[static_cast<std::size_t>(direction)]; }
    const Turn& turn_of(Direction direction) const {
        return turns_[static_cast<std::size_t>(direction)];
    }
    ThrottleMemberQueue* next_waiting(Direction direction, const ThrottleMemberQueue* after) const;
    // Nobody holds the timer: who is next lets requests go, or arms it.
    void schedule(Direction direction);
    void expired(Direction direction);
    // The timer does not stay with the member.
    void hand_over(const ThrottleMemberQueue& member, Direction direction);
    void leave(ThrottleMemberQueue& member);

    sim::World& world_;
    std::string name_;
    ThrottleLimits limits_;
    Buckets buckets_;
    std::vector<ThrottleMemberQueue*> members_;  // in order of joining
    std::array<Turn, direction_count> turns_;
};

// The layer's groups by name; made and removed by object-add and object-del.
using ThrottleGroups = std::map<std::string, std::shared_ptr<ThrottleGroup>, std::less<>>;
ThrottleGroups& throttle_groups(BlockLayer& layer);
std::shared_ptr<ThrottleGroup> find_throttle_group(BlockLayer& layer, std::string_view name);

}  // namespace blocklayer
