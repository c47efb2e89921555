// SPDX-License-Identifier: Apache-2.0
#include "sim/sync.hpp"

#include "sim/world.hpp"

namespace sim {

void Mutex::lock(Co& co) {
    EXPECTS(!held_by(co.fiber()));
    // Woken fibers look again: an unlock leaves the mutex free, the schedule may let another in.
    while (held()) queue_.wait(co);
    queue_.set_owner(&co.fiber());
}

void Mutex::unlock() {
    queue_.set_owner(nullptr);
    queue_.wake_one();
}

void RwLock::lock_shared(Co& co) {
    while (writer_ || !writers_waiting_.empty()) readers_waiting_.wait(co);
    ++readers_;
}

void RwLock::unlock_shared() {
    EXPECTS(readers_ > 0);
    if (--readers_ == 0) pass_on();
}

void RwLock::lock(Co& co) {
    while (writer_ || readers_ > 0) writers_waiting_.wait(co);
    writer_ = true;
    writers_waiting_.set_owner(&co.fiber());
    readers_waiting_.set_owner(&co.fiber());
}

void RwLock::unlock() {
    EXPECTS(writer_);
    writer_ = false;
    writers_waiting_.set_owner(nullptr);
    readers_waiting_.set_owner(nullptr);
    pass_on();
}

void RwLock::pass_on() {
    if (!writers_waiting_.wake_one()) readers_waiting_.wake_all();
}

void Semaphore::acquire(Co& co) {
    while (units_ == 0) queue_.wait(co);
    --units_;
}

void Semaphore::release() {
    ++units_;
    queue_.wake_one();
}

}  // namespace sim
