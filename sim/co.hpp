// SPDX-License-Identifier: Apache-2.0
// Co: the permission to suspend.
//
// A fiber may give up the processor only through a Co, and the only way to hold one is to be
// handed it as the first argument. So: a function that takes `Co&` may suspend, a function that
// does not cannot, and every call that passes `co` on is a point where the world may change.
#pragma once
#include <cstddef>
#include <cstdint>

#include "sim/label.hpp"
#include "sim/time.hpp"

namespace sim {

class Fiber;
class World;
class Thread;

class Co {
public:
    Co(const Co&) = delete;  // never stored, never copied: it lives on the fiber's own stack
    Co& operator=(const Co&) = delete;

    World& world() const;
    Fiber& fiber() const { return fiber_; }
    Thread& thread() const;
    // Bytes of stack that are left: who recurses along a graph asks before going deeper.
    std::size_t stack_left() const;

    // Suspends; resumes at now + duration, after what is due before.
    void sleep(Duration duration);
    // Suspends; resumes when somebody calls Fiber::wake.
    void park(Label on);
    // Suspends; everything that is ready may run first, in the order the schedule chooses. That
    // many times in a row; each is an event.
    void yield(Label why, std::uint64_t times = 1);
    // Suspends for some turns, of the schedule's choosing, at most so many: the moment of a command
    // or a register access among everything else that goes on.
    void moment(Label what, std::uint32_t turns_max);
    // Goes on in another simulated thread from here; yields.
    void move_to(Thread& thread);

    // While one is alive a suspension is a bug, and fails with this reason.
    class [[nodiscard]] Atomic {
    public:
        Atomic(const Atomic&) = delete;
        Atomic& operator=(const Atomic&) = delete;
        ~Atomic();

    private:
        friend class Co;
        Atomic(Fiber& fiber, const char* why);
        Fiber& fiber_;
        const char* outer_;
    };
    Atomic atomic(const char* why) { return {fiber_, why}; }

private:
    friend class Fiber;
    friend struct FiberCore;
    explicit Co(Fiber& fiber) : fiber_(fiber) {}
    Fiber& fiber_;
};

}  // namespace sim
