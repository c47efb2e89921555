// SPDX-License-Identifier: Apache-2.0
// Fiber: one thread of simulated control, on a stack of its own.
//
// The Fiber object, its body and its frames live in one pooled block of memory with a guard page
// below it, so that spawning takes no allocation. Blocks are kept for the life of the process:
// a FiberRef may look at a finished fiber and find another id there.
//
// invariant  a fiber is in exactly one place: ready, running, parked, or finished
#pragma once
#include <cstdint>
#include <new>
#include <type_traits>
#include <utility>

#include "sim/co.hpp"
#include "sim/label.hpp"
#include "sim/place.hpp"

namespace sim {

class World;
class Thread;
class WaitQueue;

// Something the executor can run: a fiber to be resumed, a posted handler, an expired timer.
class Runnable {
public:
    enum class Kind : std::uint8_t { fiber, handler };
    explicit Runnable(Kind what) : kind(what) {}
    Runnable(const Runnable&) = delete;
    Runnable& operator=(const Runnable&) = delete;
    virtual ~Runnable() = default;
    virtual void run() = 0;
    Label label{"runnable"};
    std::uint64_t id = 0;
    std::uint32_t thread = 0;
    std::uint32_t turns = 0;  // how often it was begun
    Label doing;              // a fiber: what it waits for
    Place place;              // where it is, see sim/place.hpp
    std::uint64_t readied_by = 0;  // number of the event that made it ready
    const Kind kind;
};

class Fiber final : public Runnable {
public:
    // Makes a parked fiber ready. May be called from handlers and other fibers, never twice for
    // one park.
    void wake();

    World& world() const { return world_; }
    bool parked() const { return state_ == State::parked; }
    Label waiting_for() const { return doing; }
    // The fiber that holds, or is, what this one waits for; nullptr: nobody in particular.
    const Fiber* waits_for() const;
    void run() override;

private:
    friend class Co;
    friend class World;
    friend class WaitQueue;
    friend class FiberRef;
    friend class Checkpoint;
    friend struct FiberCore;
    enum class State : std::uint8_t { fresh, ready, running, parked, finished };

    Fiber(World& world, void (*enter)(void* body, Co& co), void (*drop)(void* body), void* body)
        : Runnable(Kind::fiber), world_(world), enter_(enter), drop_(drop), body_(body) {}
    bool passes_turn();
    void finish();

    World& world_;
    void (*enter_)(void*, Co&);
    void (*drop_)(void*);
    void* body_;
    void* context_ = nullptr;          // where to resume it
    const char* atomic_ = nullptr;     // why it must not suspend now
    Fiber* previous_alive_ = nullptr;  // all unfinished fibers of the world
    Fiber* next_alive_ = nullptr;
    Fiber* next_waiting_ = nullptr;  // the queue it waits in
    const WaitQueue* queue_ = nullptr;
    Fiber* joiners_ = nullptr;        // who waits for this one to finish, first come first
    const Fiber* joined_ = nullptr;  // whom this one waits for to finish
    std::byte* stack_limit_ = nullptr;
    struct {
        void* caught = nullptr;
        unsigned uncaught = 0;
    } exceptions_;
    void* asan_fake_stack_ = nullptr;
    std::uint64_t turns_to_pass_ = 0;  // before it goes on (Co::yield)
    State state_ = State::fresh;
    bool service_ = false;
};

// Names a fiber also after it has finished.
class FiberRef {
public:
    FiberRef() = default;
    explicit FiberRef(Fiber& fiber) : fiber_(&fiber), id_(fiber.id) {}
    // Right after spawn: the fiber is there from its first step on.
    FiberRef in(Place place) const {
        if (Fiber* fiber = get()) fiber->place = place;
        return *this;
    }
    // The fiber, or nullptr when it has finished.
    Fiber* get() const { return fiber_ != nullptr && fiber_->id == id_ ? fiber_ : nullptr; }
    // Suspends until the fiber has finished.
    void join(Co& co) const;
    std::uint64_t id() const { return id_; }

private:
    Fiber* fiber_ = nullptr;
    std::uint64_t id_ = 0;
};

// A block for one fiber: [guard page | stack, growing down | Fiber | body].
struct FiberBlock {
    static constexpr std::size_t body_bytes_max = 1024;
    static void* take();  // address of the Fiber
    static void give_back(void* fiber);
    static void take_again(void* fiber);  // this one, which is not in use
    static std::byte* end_of(void* fiber);
    static void* body_of(void* fiber);
};

}  // namespace sim
