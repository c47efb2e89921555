// SPDX-License-Identifier: Apache-2.0
// The switch between the executor and fibers; the only file that knows Boost.Context.
//
// The address sanitizer is told of every switch, and the C++ runtime's per-thread exception state
// (what is being caught, how many are in flight) is kept per fiber, as it would be per thread.
#include "sim/fiber.hpp"

#include <cxxabi.h>
#include <sys/mman.h>
#include <unistd.h>

#include <boost/context/detail/fcontext.hpp>
#include <new>
#include <utility>
#include <vector>

#include "sim/arena.hpp"
#include "sim/check.hpp"
#include "sim/world.hpp"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace sim {
namespace {

namespace context = boost::context::detail;

// Address space, not memory: only pages that are touched are backed.
#if defined(__SANITIZE_ADDRESS__)
constexpr std::size_t stack_bytes = 1024 * 1024;  // instrumented frames are several times larger
#else
constexpr std::size_t stack_bytes = 256 * 1024;
#endif
constexpr std::size_t guard_bytes = 4096;
constexpr std::size_t body_at = (sizeof(Fiber) + 63) / 64 * 64;
constexpr std::size_t head_bytes = body_at + FiberBlock::body_bytes_max;
// Fibers begin at different places of a page: at the same one, all of them would compete for the
// same few lines of the processor's cache.
constexpr std::size_t places = 16, place_bytes = 4096 / places;
constexpr std::size_t block_bytes = guard_bytes + stack_bytes + places * place_bytes;

std::vector<void*>& spare_blocks() {
    static auto& blocks = []() -> auto& {
        const Arena::Outside outside;
        return *new std::vector<void*>;  // outlives every static World
    }();
    return blocks;
}

struct EhGlobals {  // the layout the Itanium C++ ABI prescribes for __cxa_eh_globals
    void* caught;
    unsigned uncaught;
};

EhGlobals& eh_globals() {
    return *reinterpret_cast<EhGlobals*>(abi::__cxa_get_globals());
}

// What both sides of a switch know. A fiber may run another world: then the inner one's.
struct Side {
    context::fcontext_t executor = nullptr;  // where it waits
    Fiber* leaving = nullptr;                // the fiber that jumps; nullptr: the executor does
    EhGlobals* exceptions = nullptr;         // of this thread
#if defined(__SANITIZE_ADDRESS__)
    const void* executor_stack = nullptr;
    std::size_t executor_stack_bytes = 0;
#endif
};

struct Unwind {};  // thrown out of a suspended fiber when its world closes

}  // namespace

// Everything that touches both sides of a switch. The executor runs on the stack of who called it;
// a fiber goes on because the executor, or another fiber that suspends, jumps to it.
struct FiberCore {
    static inline Side side;

    static void entry(context::transfer_t from) {
        auto& fiber = *static_cast<Fiber*>(from.data);
#if defined(__SANITIZE_ADDRESS__)
        finish_switch(nullptr);
#endif
        arrive(fiber, from);
        run_body(fiber);
        leave(fiber, nullptr, fiber.world_.hand_over());
        __builtin_unreachable();
    }

    // To the next fiber, or to the executor.
    [[gnu::always_inline]] static inline context::transfer_t leave(Fiber& fiber,
                                                                   void** fake_stack,
                                                                   Fiber* next) {
        side.leaving = &fiber;
#if defined(__SANITIZE_ADDRESS__)
        __sanitizer_start_switch_fiber(
            fake_stack, next != nullptr ? next->stack_limit_ : side.executor_stack,
            next != nullptr ? stack_bytes : side.executor_stack_bytes);
#else
        (void)fake_stack;
#endif
        return context::jump_fcontext(next != nullptr ? next->context_ : side.executor, next);
    }

    static void run_body(Fiber& fiber) {
        try {
            Co co(fiber);
            fiber.enter_(fiber.body_, co);
        } catch (const Unwind&) {
            // The world closes: every destructor on this stack has run.
        } catch (...) {
            if (!fiber.world_.failure_) fiber.world_.failure_ = std::current_exception();
        }
        fiber.finish();
        fiber.id = 0;  // every FiberRef to it is void from here
    }

    // On the stack of who has been jumped to: where the one that jumped is to go on, if it is.
    [[gnu::always_inline]] static inline void arrive(Fiber& fiber, context::transfer_t from) {
        if (side.leaving == nullptr)
            side.executor = from.fctx;
        else if (side.leaving->state_ != Fiber::State::finished)
            side.leaving->context_ = from.fctx;
        else
            FiberBlock::give_back(side.leaving);
        *side.exceptions = {fiber.exceptions_.caught, fiber.exceptions_.uncaught};
    }

    // From the executor, to which it or another fiber comes back.
    static void resume(Fiber& fiber) {
        const Side outer = side;
        side.leaving = nullptr;
        side.exceptions = &eh_globals();
        const EhGlobals mine = *side.exceptions;
#if defined(__SANITIZE_ADDRESS__)
        void* fake_stack = nullptr;
        __sanitizer_start_switch_fiber(&fake_stack, fiber.stack_limit_, stack_bytes);
#endif
        const context::transfer_t back = context::jump_fcontext(fiber.context_, &fiber);
#if defined(__SANITIZE_ADDRESS__)
        __sanitizer_finish_switch_fiber(fake_stack, nullptr, nullptr);
#endif
        Fiber& came = *side.leaving;
        if (came.state_ != Fiber::State::finished)
            came.context_ = back.fctx;
        else
            FiberBlock::give_back(&came);
        *side.exceptions = mine;
        side = outer;
    }

    // Switches to the fiber whose turn it is, or to the executor; throws when the world closes.
    // Inlined, as the way back is: after a switch the processor foresees no return, so each one
    // less is some nanoseconds less.
    [[gnu::always_inline]] static inline void suspend(Fiber& fiber) {
        if (fiber.atomic_ != nullptr) [[unlikely]] fail_atomic(fiber);
        Fiber* const next = fiber.world_.hand_over();
        if (next == &fiber) return;
        fiber.exceptions_ = {side.exceptions->caught, side.exceptions->uncaught};
        const context::transfer_t back = leave(fiber, &fiber.asan_fake_stack_, next);
#if defined(__SANITIZE_ADDRESS__)
        finish_switch(fiber.asan_fake_stack_);
#endif
        arrive(fiber, back);
        if (fiber.world_.closing_) [[unlikely]] throw Unwind();
    }

#if defined(__SANITIZE_ADDRESS__)
    static void finish_switch(void* fake_stack) {
        const void* stack = nullptr;
        std::size_t bytes = 0;
        __sanitizer_finish_switch_fiber(fake_stack, &stack, &bytes);
        if (side.leaving != nullptr) return;
        side.executor_stack = stack;
        side.executor_stack_bytes = bytes;
    }
#endif

    [[noreturn]] static void fail_atomic(const Fiber& fiber) {
        throw AssertionFailure(std::string("suspended inside an atomic section: ") +
                               fiber.atomic_);
    }
};

void* FiberBlock::take() {
    auto& spare = spare_blocks();
    if (!spare.empty()) {
        void* fiber = spare.back();
        spare.pop_back();
        return fiber;
    }
    void* memory = mmap(nullptr, block_bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    mprotect(memory, guard_bytes, PROT_NONE);
    static std::size_t blocks = 0;
    const std::size_t place = blocks++ % places * place_bytes;
    return static_cast<std::byte*>(memory) + block_bytes - head_bytes - place;
}

void FiberBlock::give_back(void* fiber) {
    const Arena::Outside outside;
    spare_blocks().push_back(fiber);
}

void FiberBlock::take_again(void* fiber) { std::erase(spare_blocks(), fiber); }

std::byte* FiberBlock::end_of(void* fiber) { return static_cast<std::byte*>(fiber) + head_bytes; }

void* FiberBlock::body_of(void* fiber) { return static_cast<std::byte*>(fiber) + body_at; }

Fiber& World::start_fiber(void* block, Thread& thread, Label label, void (*enter)(void*, Co&),
                          void (*drop)(void*), void* body) {
    EXPECTS(!closing_);
    auto& fiber = *new (block) Fiber(*this, enter, drop, body);
    fiber.label = label;
    fiber.id = next_id_++;
    fiber.thread = thread.index();
    fiber.stack_limit_ = static_cast<std::byte*>(block) + head_bytes - stack_bytes;
#if defined(__SANITIZE_ADDRESS__)
    // An unwound fiber may have left poison of its frames behind.
    __asan_unpoison_memory_region(fiber.stack_limit_, stack_bytes - head_bytes);
#endif
    const std::size_t usable = stack_bytes - head_bytes;
    fiber.context_ = context::make_fcontext(block, usable, &FiberCore::entry);
    fiber.next_alive_ = alive_;
    if (alive_ != nullptr) alive_->previous_alive_ = &fiber;
    alive_ = &fiber;
    ++fibers_alive_;
    make_ready(fiber);
    return fiber;
}

void Fiber::run() {
    if (passes_turn()) return;
    world_.running_ = this;
    FiberCore::resume(*this);
    world_.running_ = nullptr;
}

void Fiber::finish() {
    drop_(body_);
    state_ = State::finished;
    if (previous_alive_ != nullptr) previous_alive_->next_alive_ = next_alive_;
    if (next_alive_ != nullptr) next_alive_->previous_alive_ = previous_alive_;
    if (world_.alive_ == this) world_.alive_ = next_alive_;
    --world_.fibers_alive_;
    while (joiners_ != nullptr) {
        Fiber* joiner = joiners_;
        joiners_ = joiner->next_waiting_;
        joiner->next_waiting_ = nullptr;
        joiner->joined_ = nullptr;
        joiner->wake();
    }
}

void Fiber::wake() {
    if (world_.closing_) return;
    EXPECTS(state_ == State::parked);
    state_ = State::ready;
    world_.make_ready(*this);
}

World& Co::world() const { return fiber_.world_; }

Thread& Co::thread() const { return *fiber_.world_.threads_[fiber_.thread]; }

std::size_t Co::stack_left() const {
    const auto* here = static_cast<const std::byte*>(__builtin_frame_address(0));
    return here > fiber_.stack_limit_ ? static_cast<std::size_t>(here - fiber_.stack_limit_) : 0;
}

void Co::park(Label on) {
    fiber_.doing = on;
    fiber_.state_ = Fiber::State::parked;
    FiberCore::suspend(fiber_);
}

void Co::yield(Label why, std::uint64_t times) {
    if (times == 0) return;
    fiber_.turns_to_pass_ = times - 1;
    fiber_.doing = why;
    fiber_.state_ = Fiber::State::ready;
    fiber_.world_.make_ready(fiber_);
    FiberCore::suspend(fiber_);
}

// 0, 1, 2, 3, 5, 8 ...: early moments close together, late ones few.
static std::uint32_t turns_of_moment(std::uint32_t k) {
    std::uint32_t turns = 1, next = 1;
    for (std::uint32_t i = 0; i < k; ++i) turns = std::exchange(next, turns + next);
    return k == 0 ? 0 : turns;
}

void Co::moment(Label what, std::uint32_t turns_max) {
    constexpr std::uint32_t answers_max = 40;
    std::uint32_t answers = 1;
    while (answers < answers_max && turns_of_moment(answers) <= turns_max) ++answers;
    yield(what, turns_of_moment(world().choose(answers, what)));
}

void Co::move_to(Thread& thread) {
    fiber_.thread = thread.index();
    yield("move to thread");
}

void Co::sleep(Duration duration) {
    EXPECTS(duration.ns >= 0);
    Timer timer(world(), thread(), "sleep", [this] { fiber_.wake(); });
    timer.place = fiber_.place;
    timer.arm(world().now() + duration);
    park("sleep");
}

Co::Atomic::Atomic(Fiber& fiber, const char* why) : fiber_(fiber), outer_(fiber.atomic_) {
    fiber_.atomic_ = why;
}

Co::Atomic::~Atomic() { fiber_.atomic_ = outer_; }

void FiberRef::join(Co& co) const {
    Fiber* fiber = get();
    if (fiber == nullptr) return;
    Fiber& self = co.fiber();
    Fiber** link = &fiber->joiners_;
    while (*link != nullptr) link = &(*link)->next_waiting_;
    *link = &self;
    self.next_waiting_ = nullptr;
    self.joined_ = fiber;
    co.park("join");
}

}  // namespace sim
