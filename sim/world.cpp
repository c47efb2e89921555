// SPDX-License-Identifier: Apache-2.0
#include "sim/world.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "sim/arena.hpp"
#include "sim/platform.hpp"

namespace sim {
namespace {

class Posted final : public Runnable {
public:
    explicit Posted(std::vector<Runnable*>& spare) : Runnable(Kind::handler), spare_(spare) {}
    void run() override {
        const std::function<void()> now = std::exchange(handler, nullptr);
        spare_.push_back(this);  // from here it may serve again
        now();
    }
    std::function<void()> handler;

private:
    std::vector<Runnable*>& spare_;
};

// Whoever answers is not of this world: what it keeps stays when the world's arena is rewound.
template <class Answer>
auto ask(Answer answer) {
    const Arena::Outside outside;
    return answer();
}

std::string last_events(const Trace& trace) {
    std::string text = "\nlast events:";
    for (const TraceEvent& event : trace.last(50)) text += "\n  " + trace.to_line(event);
    return text;
}

}  // namespace

World::World(WorldOptions options)
    : seed_(options.seed),
      event_limit_(options.event_limit == 0 ? UINT64_MAX : options.event_limit),
      schedule_(options.schedule ? std::move(options.schedule) : fifo_schedule()),
      in_order_(schedule_->in_order()),
      uniform_(schedule_->uniform()),
      record_choices_(options.record_choices),
      clock_(options.clock),
      watcher_(schedule_->watcher()),
      platform_(std::move(options.platform)) {
    trace_.set_recording(options.record_trace);
    add_thread("main", ThreadKind::main_loop);
    if (clock_ == ClockMode::paced) {
        EXPECTS(options.pace > 0);
        pace_.emplace(options.wall_clock ? *options.wall_clock : WallClock::host(), options.pace);
    }
}

void World::close() {
    if (closing_) return;
    closing_ = true;
    while (alive_ != nullptr) {
        Fiber& fiber = *alive_;
        if (fiber.state_ == Fiber::State::fresh) {
            fiber.finish();
            fiber.id = 0;
            FiberBlock::give_back(&fiber);
            continue;
        }
        fiber.state_ = Fiber::State::ready;
        fiber.turns_to_pass_ = 0;
        fiber.atomic_ = nullptr;
        fiber.run();
    }
    for (std::size_t k = 0; k < ready_.size(); ++k)
        if (auto* posted = dynamic_cast<Posted*>(&ready_.at(k))) delete posted;
    ready_.clear();
    for (Runnable* spare : spare_posts_) delete spare;
    spare_posts_.clear();
}

void World::begin(std::uint64_t seed, std::unique_ptr<Schedule> schedule, bool record_choices) {
    EXPECTS(streams_.empty() && schedule != nullptr);
    seed_ = seed;
    schedule_ = std::move(schedule);
    in_order_ = schedule_->in_order();
    uniform_ = schedule_->uniform();
    watcher_ = schedule_->watcher();
    record_choices_ = record_choices;
}

std::unique_ptr<Schedule> World::end() {
    in_order_ = true;
    uniform_ = nullptr;
    watcher_ = nullptr;
    return std::exchange(schedule_, fifo_schedule());
}

Thread& World::add_thread(std::string name, ThreadKind kind) {
    const auto index = static_cast<std::uint32_t>(threads_.size());
    threads_.push_back(std::unique_ptr<Thread>(new Thread(index, std::move(name), kind)));
    return *threads_.back();
}

RandomStream& World::rng(std::string_view name) {
    for (auto& [known, stream] : streams_)
        if (known == name) return *stream;
    streams_.emplace_back(name, std::make_unique<RandomStream>(seed_, name));
    return *streams_.back().second;
}

std::uint32_t World::choose(std::uint32_t n, Label label) {
    EXPECTS(n > 0);
    if (n == 1 || in_order_) return 0;
    return record(ChoiceKind::value, label, n, ask([&] { return schedule_->choose(n, label); }));
}

std::uint32_t World::fault(std::uint32_t n, Label site) {
    EXPECTS(n > 1);
    if (in_order_ || faults_left_ == 0) return 0;
    const std::uint32_t k =
        record(ChoiceKind::fault, site, n, ask([&] { return schedule_->fault(n, site); }));
    if (k == 0) return 0;
    --faults_left_;
    faults_.push_back({now_, trace_.count(), events_run_, site, k});
    emit(site, {}, k);
    return k;
}

bool World::feature(Label name) {
    if (in_order_) return true;
    const bool in_use = ask([&] { return schedule_->feature(name); });
    return record(ChoiceKind::feature, name, 2, in_use ? 0 : 1) == 0;
}

bool World::keep(Label operation) {
    if (in_order_) return true;
    const bool kept = ask([&] { return schedule_->keep(operation); });
    return record(ChoiceKind::operation, operation, 2, kept ? 0 : 1) == 0;
}

std::uint32_t World::record(ChoiceKind kind, Label label, std::uint32_t n, std::uint32_t k) {
    INVARIANT(k < n);
    if (record_choices_) choices_.push_back({label, n, k, kind});
    return k;
}

void World::record_order(std::uint32_t n, std::size_t k) {
    record(ChoiceKind::order, ready_.at(k).label, n, static_cast<std::uint32_t>(k));
}

void World::post(Thread& thread, Label label, std::function<void()> handler) {
    if (closing_) return;
    Posted* posted = nullptr;
    if (spare_posts_.empty()) {
        posted = new Posted(spare_posts_);
    } else {
        posted = static_cast<Posted*>(spare_posts_.back());
        spare_posts_.pop_back();
    }
    posted->label = label;
    posted->id = next_id_++;
    posted->turns = 0;
    posted->thread = thread.index();
    posted->place = {};
    posted->handler = std::move(handler);
    make_ready(*posted);
}

// The schedule looks at the ready ones.
std::size_t World::pick_ready() {
    const std::size_t n = ready_.size();
    if (candidates_.size() < n) candidates_.resize(2 * n);
    Candidate* candidate = candidates_.data();
    for (std::size_t i = 0; i < n; ++i) {
        const Runnable& runnable = ready_.at(i);
        *candidate++ = {runnable.id, runnable.thread, runnable.turns, runnable.label};
    }
    const std::size_t k = ask([&] { return schedule_->pick(std::span(candidates_).first(n)); });
    INVARIANT(k < n);
    return k;
}

// Which of the ready ones runs next.
[[gnu::always_inline]] inline Runnable& World::take_ready() {
    std::size_t k = 0;
    if (const auto n = static_cast<std::uint32_t>(ready_.size()); n > 1 && !in_order_) {
        k = uniform_ != nullptr ? uniform_->pick(n) : pick_ready();
        if (record_choices_) [[unlikely]] record_order(n, k);
    }
    return ready_.take(k);
}

// The event of one that is ready begins.
[[gnu::always_inline]] inline Runnable& World::begin_event() {
    ++events_run_;
    Runnable& next = take_ready();
    trace_.step(now_, next.label, next.id, next.thread);
    if (watcher_ != nullptr) [[unlikely]] announce(next);
    ++next.turns;
    return next;
}

// The running fiber's event is over, and it stands still. Handlers run on its stack. The fiber that
// goes on next, its event begun; nullptr: the executor is to see to it, because there is more to do
// than to switch.
Fiber* World::hand_over() {
    if (done_ == nullptr || watcher_ != nullptr || closing_ || failure_) return nullptr;
    try {
        while (!*done_ && !ready_.empty() && events_run_ < event_limit_) {
            Runnable& next = begin_event();
            if (next.kind == Runnable::Kind::fiber) {
                running_ = static_cast<Fiber*>(&next);
                if (!running_->passes_turn()) return running_;
            } else {
                running_ = nullptr;
                next.run();
            }
        }
    } catch (...) {
        if (!failure_) failure_ = std::current_exception();
    }
    return nullptr;
}

// Inlined into the loops below: see FiberCore::suspend.
[[gnu::always_inline]] inline bool World::turn() {
    EXPECTS(!turning_ && !closing_);
    if (ready_.empty() && !advance_clock(Instant::never())) return false;
    if (ready_.empty()) return true;  // the clock moved, nothing fell due yet
    if (events_run_ == event_limit_) fail_endless();
    Runnable& next = begin_event();
    turning_ = true;
    try {
        next.run();
    } catch (...) {
        if (!failure_) failure_ = std::current_exception();
    }
    turning_ = false;
    if (failure_) rethrow_failure();
    if (watcher_ != nullptr) [[unlikely]] step_ended();
    return true;
}

void World::announce(const Runnable& next) {
    const Step step{.at = now_,
                    .number = events_run_,
                    .id = next.id,
                    .thread = next.thread,
                    .turn = next.turns,
                    .label = next.label,
                    .doing = next.doing,
                    .readied_by = next.readied_by,
                    .next_id = next_id_};
    touched_.clear();
    told_all_ = false;
    touch(next.place);
    ask([&] { watcher_->begins(step); });
}

void World::step_ended() {
    const auto anywhere = [](const Touch& touch) { return touch.subject == 0; };
    const bool lost = std::erase_if(touched_, anywhere) > 0 && !told_all_;
    if (lost) touched_.clear();
    ask([&] { watcher_->ends(touched_); });
}

void World::left() {
    if (watcher_ != nullptr) [[unlikely]] ask([&] { watcher_->left(); });
}

bool World::step() { return turn(); }

void World::rethrow_failure() {
    const std::exception_ptr failure = std::exchange(failure_, nullptr);
    try {
        std::rethrow_exception(failure);
    } catch (const Verdict& found) {
        const std::string text = found.text(), events = last_events(trace_);
        close();
        throw Verdict(text, events);
    } catch (const AssertionFailure& broken) {
        const std::string text = fmt::format("{}{}", broken.what(), last_events(trace_));
        close();
        throw AssertionFailure(text);
    }
}

// In its scope fibers hand over to one another, without the executor, until something is done.
class World::HandingOver {
public:
    HandingOver(World& world, const bool& done) : world_(world) { world_.done_ = &done; }
    HandingOver(const HandingOver&) = delete;
    HandingOver& operator=(const HandingOver&) = delete;
    ~HandingOver() { world_.done_ = nullptr; }

private:
    World& world_;
};

bool World::run_until(const std::function<bool()>& condition) {
    while (!condition())
        if (!turn()) {
            left();
            return condition();
        }
    left();
    return true;
}

void World::run_until_idle() {
    const bool never = false;
    const HandingOver fibers(*this, never);
    while (turn()) {
    }
    left();
}

void World::advance(Duration duration) {
    EXPECTS(duration.ns >= 0);
    const Instant end = now_ + duration;
    while (true) {
        while (!ready_.empty()) turn();
        if (advance_clock(end)) continue;
        now_ = end;
        left();
        return;
    }
}

void World::finish_run(const bool& done) {
    const HandingOver fibers(*this, done);
    while (!done)
        if (!turn()) fail_stuck();
    left();
}

void World::fail_stuck() {
    const std::string text =
        fmt::format("deadlock at {} ns: nothing can run and no date is due\n{}{}", now_.ns,
                    waiting_report(), last_events(trace_));
    close();  // now, while what the fibers refer to is still there
    throw Deadlock(text);
}

void World::fail_endless() {
    const std::string text = fmt::format("more than {} events: the run does not end{}",
                                         event_limit_, last_events(trace_));
    close();
    throw EventLimit(text);
}

}  // namespace sim
