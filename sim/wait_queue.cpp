// SPDX-License-Identifier: Apache-2.0
#include "sim/wait_queue.hpp"

#include <utility>

#include "sim/check.hpp"
#include "sim/world.hpp"

namespace sim {

// A queue may only go away with fibers in it when their world closes; they unwind by themselves.
void WaitQueue::let_go() {
    for (Fiber* fiber = first_; fiber != nullptr; fiber = fiber->next_waiting_)
        fiber->queue_ = nullptr;
}

void WaitQueue::wait(Co& co) {
    Fiber& fiber = co.fiber();
    fiber.next_waiting_ = nullptr;
    fiber.queue_ = this;
    (last_ != nullptr ? last_->next_waiting_ : first_) = &fiber;
    last_ = &fiber;

    struct LeaveOnUnwind {  // the world closes: take the fiber out so that nobody finds it
        Fiber& fiber;
        ~LeaveOnUnwind() {
            if (fiber.queue_ == nullptr) return;
            auto* queue = const_cast<WaitQueue*>(fiber.queue_);
            Fiber** link = &queue->first_;
            Fiber* before = nullptr;
            while (*link != &fiber) before = *link, link = &before->next_waiting_;
            *link = fiber.next_waiting_;
            if (queue->last_ == &fiber) queue->last_ = before;
            fiber.queue_ = nullptr;
        }
    } leave{fiber};
    co.park(label_);
}

bool WaitQueue::wake_one() {
    if (first_ == nullptr) return false;
    Fiber& fiber = *first_;
    first_ = fiber.next_waiting_;
    if (first_ == nullptr) last_ = nullptr;
    fiber.next_waiting_ = nullptr;
    fiber.queue_ = nullptr;
    fiber.wake();
    return true;
}

void WaitQueue::wake_waiters() {
    // Only those who wait now: a woken one that waits again is not woken twice.
    Fiber* fiber = std::exchange(first_, nullptr);
    last_ = nullptr;
    while (fiber != nullptr) {
        Fiber* next = std::exchange(fiber->next_waiting_, nullptr);
        fiber->queue_ = nullptr;
        fiber->wake();
        fiber = next;
    }
}

}  // namespace sim
