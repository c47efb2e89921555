// SPDX-License-Identifier: Apache-2.0
// World: the clock, the order of events and everything that happens in one simulation.
//
// One executor runs one event at a time: a fiber until it suspends, a posted handler, an expired
// timer. When nothing is ready the clock jumps to the next date. Which of several ready events
// runs is the schedule's choice, so a world is a function of its options and of what it is told.
//
// invariant  events are ordered by (instant, sequence number) and the schedule's answers, nothing
//            else: never by address, hash order or the wall clock
#pragma once
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "sim/check.hpp"
#include "sim/co.hpp"
#include "sim/fiber.hpp"
#include "sim/label.hpp"
#include "sim/platform.hpp"
#include "sim/ready_queue.hpp"
#include "sim/rng.hpp"
#include "sim/schedule.hpp"
#include "sim/time.hpp"
#include "sim/trace.hpp"
#include "sim/wall_clock.hpp"

namespace sim {

enum class ClockMode : std::uint8_t {
    simulated,  // jumps to the next event
    paced,      // follows the wall clock by a factor
    manual,     // moves only when told
};

enum class ThreadKind : std::uint8_t { main_loop, iothread, vcpu, worker };

// A simulated thread: a label with meaning. Fibers of one thread interleave only where one waits.
class Thread {
public:
    std::uint32_t index() const { return index_; }
    const std::string& name() const { return name_; }
    ThreadKind kind() const { return kind_; }

private:
    friend class World;
    Thread(std::uint32_t index, std::string name, ThreadKind kind)
        : index_(index), name_(std::move(name)), kind_(kind) {}
    std::uint32_t index_;
    std::string name_;
    ThreadKind kind_;
};

// Runs a handler at a date. Handlers hold no Co: they wake or spawn fibers.
class Timer final : public Runnable {
public:
    Timer(World& world, Thread& thread, Label label, std::function<void()> handler);
    Timer(const Timer&) = delete;
    Timer& operator=(const Timer&) = delete;
    ~Timer() override { cancel(); }

    void arm(Instant at);  // also moves an armed one
    void post();           // expires now: the handler is the next event, as with World::post
    void cancel();         // also one that has expired but not yet run
    bool armed() const { return state_ != State::idle; }
    Instant when() const { return at_; }
    void run() override;

private:
    friend class World;
    enum class State : std::uint8_t { idle, armed, expired };
    World& world_;
    std::function<void()> handler_;
    Instant at_;
    std::uint64_t sequence_ = 0;
    std::size_t heap_index_ = 0;
    State state_ = State::idle;
};

struct WorldOptions {
    std::uint64_t seed = 0;
    std::unique_ptr<Schedule> schedule;  // default: first in, first out
    std::unique_ptr<Platform> platform;  // default: instant, host work takes no time
    ClockMode clock = ClockMode::simulated;
    double pace = 1.0;               // paced: simulated seconds per wall second
    WallClock* wall_clock = nullptr;  // paced: default the host's
    bool record_trace = false;
    bool record_choices = false;
    std::uint64_t event_limit = 0;  // 0: none; a run of more events fails as a livelock
};

// Nothing can run and no date is due, but fibers wait. what() lists who waits for whom, and names
// the cycle if there is one.
class Deadlock : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

// More events than WorldOptions::event_limit.
class EventLimit : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

// A fault that a schedule injected.
struct InjectedFault {
    Instant at;
    std::uint64_t position;  // trace events before it
    std::uint64_t step;      // number of the event that met it
    Label site;
    std::uint32_t answer;  // above 0: which of the site's faults
};

class World {
public:
    explicit World(WorldOptions options = {});
    World(const World&) = delete;
    World& operator=(const World&) = delete;
    ~World() { close(); }
    // Unwinds what is still parked, newest fiber first. Nothing runs afterwards, so that owners of
    // what the fibers used can drop it while the world's clock and trace are still there.
    void close();

    Instant now() const { return now_; }
    std::uint64_t seed() const { return seed_; }
    Trace& trace() { return trace_; }
    Platform* platform() { return platform_.get(); }  // nullptr: instant

    Thread& main_thread() { return *threads_.front(); }
    Thread& add_thread(std::string name, ThreadKind kind);
    const std::vector<std::unique_ptr<Thread>>& threads() const { return threads_; }  // by index

    // The stream with this name; the same one at each call.
    RandomStream& rng(std::string_view name);
    // A free choice of the model: 0 when n == 1, otherwise the schedule's answer, recorded.
    std::uint32_t choose(std::uint32_t n, Label label);
    // What goes wrong here: 0 for nothing, or the schedule's answer below n. Names of sites are
    // stable: they are part of records, and swarms draw them by name.
    std::uint32_t fault(std::uint32_t n, Label site);
    // No more faults than this from here on; then sites are not asked.
    void limit_faults(std::uint32_t n) { faults_left_ = n; }
    const std::vector<InjectedFault>& faults() const { return faults_; }
    // Whether this run has the feature: yes, unless the schedule draws configurations.
    bool feature(Label name);
    // Whether to do this operation of a list: yes, unless somebody looks for a shorter list.
    bool keep(Label operation);
    const std::vector<Choice>& choices() const { return choices_; }

    // The running step reads or changes what has this name. A step that says all it touches may be
    // taken to commute with one that touches other things; one that says nothing, and is in no
    // place, commutes with none.
    void touch(std::string_view name, Access access) {
        if (watcher_ == nullptr) [[likely]] return;
        touched_.push_back({hash_text(name), access});
        told_all_ = true;
    }
    // It is here as well for a moment. Anywhere: nobody knows what it touches.
    void touch(Place place, Access access = Access::write) {
        if (watcher_ != nullptr) [[unlikely]] touched_.push_back({place.subject(), access});
    }
    // The running fiber is in this place, and then again where it was.
    class [[nodiscard]] Within {
    public:
        Within(const Co& co, Place place) : fiber_(co.fiber()), outer_(fiber_.place) {
            move(place);
        }
        Within(const Within&) = delete;
        Within& operator=(const Within&) = delete;
        ~Within() { move(outer_); }

    private:
        void move(Place place) {
            fiber_.place = place;
            fiber_.world().touch(place);
        }
        Fiber& fiber_;
        const Place outer_;
    };

    // An event in the trace, under the running fiber and the present time.
    void emit(Label label, Subject subject = {}, std::uint64_t a = 0, std::uint64_t b = 0) {
        trace_.emit(now_, running_ == nullptr ? 0 : running_->id, label, subject, a, b);
    }

    // Starts a fiber: `body(co)` runs as an event of its own.
    template <class Body>
    FiberRef spawn(Thread& thread, Label label, Body&& body) {
        if (closing_) return {};  // asked for by a destructor: there is nobody to serve any more
        return FiberRef(make_fiber(thread, label, std::forward<Body>(body)));
    }
    // The same for a loop that waits for work for ever: it does not count as stuck.
    template <class Body>
    FiberRef spawn_service(Thread& thread, Label label, Body&& body) {
        if (closing_) return {};
        Fiber& fiber = make_fiber(thread, label, std::forward<Body>(body));
        fiber.service_ = true;
        return FiberRef(fiber);
    }
    // A deferred handler: an event of its own, never run inline.
    void post(Thread& thread, Label label, std::function<void()> handler);

    // A world that was set up in order goes on with this seed and under this schedule, as if it had
    // had them from the start: so no stream may have been asked for yet.
    void begin(std::uint64_t seed, std::unique_ptr<Schedule> schedule, bool record_choices);
    // The schedule back; from here on events run in order.
    std::unique_ptr<Schedule> end();

    // Runs one event, moving the clock when nothing is ready. False: nothing left to run. Who then
    // does something in the world itself says so with left(), as the loops below do when they end.
    bool step();
    void left();
    // Runs until the condition holds (true) or nothing is left to run (false). Where orders are
    // searched through, it is something that one event makes true and that stays so.
    bool run_until(const std::function<bool()>& condition);
    void run_until_idle();
    // For a copy of this process (fork) that will never return into the event that made it: it may
    // run further events from inside that one.
    void go_on_as_copy() {
        EXPECTS(done_ == nullptr);  // or a fiber that stands half still may be below
        turning_ = false;
    }
    // Runs everything due up to now + duration; the clock ends there. The one way to move a
    // manual clock.
    void advance(Duration duration);

    // Runs body(co) in a fiber on the main thread until it ends, and gives its result.
    // Throws Deadlock when it cannot end, EventLimit when it does not, AssertionFailure when a
    // check fails on the way. Each of these closes the world: every fiber is unwound, and it can be
    // looked at but not run.
    template <class Body>
    auto run(Body&& body) {
        using Result = std::invoke_result_t<Body&, Co&>;
        bool done = false;
        if constexpr (std::is_void_v<Result>) {
            spawn(main_thread(), "run", [&](Co& co) { body(co), done = true; });
            finish_run(done);
        } else {
            std::optional<Result> result;
            spawn(main_thread(), "run", [&](Co& co) {
                result.emplace(body(co));
                done = true;
            });
            finish_run(done);
            return std::move(*result);
        }
    }

    // Paced clock: called while nothing is due; waits up to this much wall time for outside
    // input and injects it. Returns false to end the run.
    void set_idle_hook(std::function<bool(Duration wall)> hook) { idle_hook_ = std::move(hook); }

    // Who waits for whom, in names; empty when nobody but services waits.
    std::string waiting_report() const;
    std::uint64_t events_run() const { return events_run_; }
    std::size_t fibers_alive() const { return fibers_alive_; }
    bool closing() const { return closing_; }

private:
    friend class Co;
    friend class Fiber;
    friend class Timer;
    friend class Checkpoint;
    friend struct FiberCore;

    template <class Body>
    Fiber& make_fiber(Thread& thread, Label label, Body&& body) {
        using Stored = std::decay_t<Body>;
        static_assert(sizeof(Stored) <= FiberBlock::body_bytes_max);
        void* block = FiberBlock::take();
        void* place = FiberBlock::body_of(block);
        auto* stored = new (place) Stored(std::forward<Body>(body));
        return start_fiber(
            block, thread, label, [](void* p, Co& co) { (*static_cast<Stored*>(p))(co); },
            [](void* p) { static_cast<Stored*>(p)->~Stored(); }, stored);
    }
    Fiber& start_fiber(void* block, Thread& thread, Label label, void (*enter)(void*, Co&),
                       void (*drop)(void*), void* body);
    class HandingOver;
    bool turn();
    Runnable& begin_event();
    Fiber* hand_over();
    void announce(const Runnable& next);
    void step_ended();
    std::uint32_t record(ChoiceKind kind, Label label, std::uint32_t n, std::uint32_t k);
    [[gnu::cold]] void record_order(std::uint32_t n, std::size_t k);
    void make_ready(Runnable& runnable) {
        ready_.push(runnable);
        runnable.readied_by = events_run_;
    }
    std::size_t pick_ready();
    Runnable& take_ready();
    bool advance_clock(Instant limit);
    void fire_due_timers();
    bool advance_paced(Instant target, bool host_busy);
    struct Date {  // an entry of the heap of timers
        Instant at;
        std::uint64_t sequence;
        Timer* timer;
        bool operator<(const Date& other) const {
            return at != other.at ? at < other.at : sequence < other.sequence;
        }
    };
    void heap_push(Timer& timer);
    void heap_remove(Timer& timer);
    void heap_place(std::size_t index, const Date& date);
    void heap_sift(std::size_t index);
    [[noreturn]] void rethrow_failure();
    void finish_run(const bool& done);
    [[noreturn]] void fail_stuck();
    [[noreturn]] void fail_endless();

    Instant now_;
    std::uint64_t seed_;
    std::uint64_t next_id_ = 1;
    std::uint64_t events_run_ = 0;
    std::uint64_t event_limit_;
    Fiber* running_ = nullptr;
    const bool* done_ = nullptr;  // set: fibers hand over to one another until it is true
    ReadyQueue ready_;
    std::vector<Date> timers_;  // a heap
    std::vector<Candidate> candidates_;
    std::unique_ptr<Schedule> schedule_;
    bool in_order_;
    RandomStream* uniform_;
    bool record_choices_;
    bool closing_ = false;
    bool turning_ = false;
    ClockMode clock_;
    std::optional<Pace> pace_;  // paced only
    StepWatcher* watcher_;
    std::vector<Touch> touched_;  // by the running step
    bool told_all_ = false;       // it said itself what it touches
    std::uint32_t faults_left_ = UINT32_MAX;
    std::vector<InjectedFault> faults_;
    std::vector<Choice> choices_;
    std::vector<std::unique_ptr<Thread>> threads_;
    std::vector<std::pair<std::string, std::unique_ptr<RandomStream>>> streams_;
    Trace trace_;
    std::unique_ptr<Platform> platform_;
    std::function<bool(Duration)> idle_hook_;
    std::exception_ptr failure_;
    Fiber* alive_ = nullptr;
    std::size_t fibers_alive_ = 0;
    std::vector<Runnable*> spare_posts_;
};

// Its turn has come: does it go on, or only yield again? That spares the switches.
inline bool Fiber::passes_turn() {
    INVARIANT(state_ == State::fresh || state_ == State::ready);
    if (turns_to_pass_ > 0) {
        --turns_to_pass_;
        world_.make_ready(*this);
        return true;
    }
    state_ = State::running;
    return false;
}

}  // namespace sim
