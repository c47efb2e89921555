// SPDX-License-Identifier: Apache-2.0
// The clock and its dates: a binary heap by (instant, sequence number), never by address.
// Its entries carry what they are compared by, so that moving one looks at no timer.
#include <algorithm>

#include "sim/platform.hpp"
#include "sim/world.hpp"

namespace sim {

Timer::Timer(World& world, Thread& thread, Label name, std::function<void()> handler)
    : Runnable(Kind::handler), world_(world), handler_(std::move(handler)) {
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

void Timer::post() {
    if (state_ == State::expired) return;
    cancel();
    at_ = world_.now_;
    state_ = State::expired;
    world_.make_ready(*this);
}

void Timer::cancel() {
    if (state_ == State::armed) world_.heap_remove(*this);
    if (state_ == State::expired) world_.ready_.forget(*this);
    state_ = State::idle;
}

void Timer::run() {
    state_ = State::idle;
    handler_();
}

void World::heap_place(std::size_t index, const Date& date) {
    timers_[index] = date;
    date.timer->heap_index_ = index;
}

void World::heap_sift(std::size_t index) {
    const Date moving = timers_[index];
    while (index > 0 && moving < timers_[(index - 1) / 2]) {
        heap_place(index, timers_[(index - 1) / 2]);
        index = (index - 1) / 2;
    }
    for (std::size_t child = 2 * index + 1; child < timers_.size(); child = 2 * index + 1) {
        if (child + 1 < timers_.size() && timers_[child + 1] < timers_[child]) ++child;
        if (!(timers_[child] < moving)) break;
        heap_place(index, timers_[child]);
        index = child;
    }
    heap_place(index, moving);
}

void World::heap_push(Timer& timer) {
    timers_.push_back({timer.at_, timer.sequence_, &timer});
    heap_sift(timers_.size() - 1);
}

void World::heap_remove(Timer& timer) {
    const std::size_t index = timer.heap_index_;
    INVARIANT(index < timers_.size() && timers_[index].timer == &timer);
    const Date last = timers_.back();
    timers_.pop_back();
    if (last.timer == &timer) return;
    timers_[index] = last;
    heap_sift(index);
}

void World::fire_due_timers() {
    while (!timers_.empty() && timers_.front().at <= now_) {
        Timer& timer = *timers_.front().timer;
        heap_remove(timer);
        timer.state_ = Timer::State::expired;
        make_ready(timer);
    }
}

// Called when nothing is ready. Moves the clock to the next date, not past limit, and makes what is
// due ready. False: it has nowhere to move to.
bool World::advance_clock(Instant limit) {
    const Instant due = timers_.empty() ? Instant::never() : timers_.front().at;
    if (due > now_) {
        const bool told = limit != Instant::never();
        if (now_ >= limit || (clock_ == ClockMode::manual && !told)) return false;
        const bool busy = platform_ != nullptr && platform_->busy();
        if (pace_) return advance_paced(std::min(due, limit), busy);
        if (!busy && (due > limit || due == Instant::never())) return false;
        now_ = busy ? platform_->advance(now_, std::min(due, limit)) : due;
    }
    fire_due_timers();
    return true;
}

// The clock is never ahead of the wall's date; what is late is made up for at once.
bool World::advance_paced(Instant target, bool host_busy) {
    if (target == Instant::never() && !host_busy && !idle_hook_) return false;
    if (pace_->date() < target) {
        // A host operation may end before the target: look again soon.
        Duration wait = pace_->until(target);
        if (host_busy) wait = std::min(wait, milliseconds(1));
        if (!idle_hook_)
            pace_->sleep(wait);
        else if (!idle_hook_(wait))
            return !ready_.empty();
    }
    // Outside input may have ended the wait early: then the target is not reached yet.
    const Instant reached = std::max(now_, std::min(target, pace_->date()));
    now_ = host_busy ? platform_->advance(now_, reached) : reached;
    fire_due_timers();
    return true;
}

}  // namespace sim
