// SPDX-License-Identifier: Apache-2.0
// WaitQueue: fibers that wait for one thing, first come first woken. Base of all of sync.hpp.
//
// invariant  a waiter leaves the queue before it is made ready
#pragma once
#include "sim/co.hpp"
#include "sim/fiber.hpp"

namespace sim {

class WaitQueue {
public:
    explicit WaitQueue(Label label) : label_(label) {}
    WaitQueue(const WaitQueue&) = delete;
    WaitQueue& operator=(const WaitQueue&) = delete;
    ~WaitQueue() {
        if (first_ != nullptr) [[unlikely]] let_go();
    }

    void wait(Co& co);  // suspends until woken
    bool wake_one();    // false: nobody waited
    void wake_all() {   // of those who are told of something, few have anybody waiting
        if (first_ != nullptr) wake_waiters();
    }
    bool empty() const { return first_ == nullptr; }
    Label label() const { return label_; }

    // Who holds what is waited for, for deadlock reports; nullptr: nobody in particular.
    const Fiber* owner() const { return owner_; }
    void set_owner(const Fiber* owner) { owner_ = owner; }

private:
    void wake_waiters();
    void let_go();

    Label label_;
    Fiber* first_ = nullptr;
    Fiber* last_ = nullptr;
    const Fiber* owner_ = nullptr;
};

}  // namespace sim
