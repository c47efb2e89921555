// SPDX-License-Identifier: Apache-2.0
// The clock and its dates: a binary heap by (instant, sequence number), never by address.
#include <algorithm>

#include "sim/platform.hpp"
#include "sim/wall_clock.hpp"
#include "sim/world.hpp"

namespace sim {

Timer::Timer(World& world, Thread& thread, Label name, std::function<void()> handler)
    : world_(world), handler_(std::move(handler)) {
    label = name;
    this->thread = thread.index();
    id = world_.next_id_++;
}

void Timer::arm(Instant at) {
    cancel();
    at_ = std::max(at, world_.now_);
    sequence_ = world_.next_id_++;
    state_ = State::armed;
    world_.heap_push(*this);
}

void Timer::cancel() {
    if (state_ == State::armed) world_.heap_remove(*this);
    if (state_ == State::expired) world_.forget_ready(*this);
    state_ = State::idle;
}

void Timer::run() {
    state_ = State::idle;
    handler_();
}

void World::heap_place(std::size_t index, Timer* timer) {
    timers_[index] = timer;
    timer->heap_index_ = index;
}

void World::heap_sift(std::size_t index) {
    const auto earlier = [](const Timer* a, const Timer* b) {
        return a->at_ != b->at_ ? a->at_ < b->at_ : a->sequence_ < b->sequence_;
    };
    Timer* moving = timers_[index];
    while (index > 0 && earlier(moving, timers_[(index - 1) / 2])) {
        heap_place(index, timers_[(index - 1) / 2]);
        index = (index - 1) / 2;
    }
    for (std::size_t child = 2 * index + 1; child < timers_.size(); child = 2 * index + 1) {
        if (child + 1 < timers_.size() && earlier(timers_[child + 1], timers_[child])) ++child;
        if (!earlier(timers_[child], moving)) break;
        heap_place(index, timers_[child]);
        index = child;
    }
    heap_place(index, moving);
}

void World::heap_push(Timer& timer) {
    timers_.push_back(&timer);
    timer.heap_index_ = timers_.size() - 1;
    heap_sift(timer.heap_index_);
}

void World::heap_remove(Timer& timer) {
    const std::size_t index = timer.heap_index_;
    INVARIANT(index < timers_.size() && timers_[index] == &timer);
    Timer* last = timers_.back();
    timers_.pop_back();
    if (last == &timer) return;
    heap_place(index, last);
    heap_sift(index);
}

void World::fire_due_timers() {
    while (!timers_.empty() && timers_.front()->at_ <= now_) {
        Timer& timer = *timers_.front();
        heap_remove(timer);
        timer.state_ = Timer::State::expired;
        make_ready(timer);
    }
}

// Moves the clock to the next date, not past limit, and makes what is due ready.
// False: there is no date before the limit.
bool World::advance_clock(Instant limit) {
    const bool manual = clock_ == ClockMode::manual && limit == Instant::never();
    const bool host_busy = platform_ && platform_->busy();
    Instant next = timers_.empty() ? Instant::never() : timers_.front()->at_;
    if (manual && next > now_ && !host_busy) return false;
    if (clock_ == ClockMode::paced) {
        const std::int64_t wall = wall_clock_ns() - pace_origin_wall_ns_;
        const auto due = [&](Instant at) {
            return static_cast<std::int64_t>(static_cast<double>(at.ns) / pace_);
        };
        if (next == Instant::never() && !host_busy) {
            if (!idle_hook_) return false;
            const bool more = idle_hook_({INT64_MAX});
            now_ = std::max(now_, Instant{static_cast<std::int64_t>(
                                      static_cast<double>(wall_clock_ns() - pace_origin_wall_ns_) *
                                      pace_)});
            return more || ready_count_ > 0;
        }
        if (!host_busy && due(next) > wall) {
            const Duration wait{due(next) - wall};
            if (idle_hook_) {
                if (!idle_hook_(wait)) return false;
                if (ready_count_ > 0) {
                    // Outside input arrived early: the clock is where the wall is, not at `next`.
                    const std::int64_t now_wall = wall_clock_ns() - pace_origin_wall_ns_;
                    now_ = std::max(now_, std::min(next, Instant{static_cast<std::int64_t>(
                                                       static_cast<double>(now_wall) * pace_)}));
                    return true;
                }
            } else {
                wall_clock_sleep(wait);
            }
        }
    }
    if (host_busy) {
        now_ = platform_->advance(now_, std::min(next, limit));
    } else {
        if (next == Instant::never() || next > limit) return false;
        now_ = std::max(now_, next);
    }
    fire_due_timers();
    return true;
}

}  // namespace sim
