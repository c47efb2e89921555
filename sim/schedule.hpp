// SPDX-License-Identifier: Apache-2.0
// Schedule: who runs next, and every other free choice of the world, as data.
//
// The world asks only where there is more than one answer; what was answered is the record of a
// run, and replaying the record replays the run. Answer 0 is always the ordinary one: the event
// that became ready first, no fault, a feature in use, an operation done.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "sim/label.hpp"
#include "sim/rng.hpp"
#include "sim/time.hpp"

namespace sim {

struct Candidate {  // one event that could run next
    std::uint64_t id;
    std::uint32_t thread;
    std::uint32_t turn;  // how often this runnable ran before
    Label label;
};

enum class ChoiceKind : std::uint8_t {
    order,      // which of the ready events runs next
    value,      // a free choice of a model or scenario
    fault,      // 0: nothing goes wrong
    feature,    // 0: in use, 1: left out
    operation,  // 0: done, 1: left out
};
constexpr std::uint32_t choice_kinds = 5;
const char* to_text(ChoiceKind kind);

struct Choice {  // one answer: k of n
    Label label;  // order: of the event that was picked
    std::uint32_t n;
    std::uint32_t k;
    ChoiceKind kind = ChoiceKind::value;
};

struct Step {  // one event that is about to run
    Instant at;
    std::uint64_t number;  // of the world's events, from 1
    std::uint64_t id;
    std::uint32_t thread;
    std::uint32_t turn;
    Label label;
    Label doing;  // a fiber: what it waited for
    std::uint64_t readied_by;  // number of the event that made it ready; 0: none of the world's
    std::uint64_t next_id;     // what this event makes gets ids from here on
};

// What a step touched: the places it was in, and what it said itself (World::touch).
enum class Access : std::uint8_t { read, write };
struct Touch {
    std::uint64_t subject;  // of a place, or hash of a name
    Access access;
    bool operator==(const Touch&) const = default;
};

// Sees every step; a schedule that has one pays for it.
class StepWatcher {
public:
    virtual ~StepWatcher() = default;
    virtual void begins(const Step& step) = 0;
    // Nothing touched: it may have touched anything. Not after a step that failed.
    virtual void ends(std::span<const Touch> touched) = 0;
    // Whoever made the world run goes on, and may touch anything before the next step.
    virtual void left() {}
};

class Schedule {
public:
    virtual ~Schedule() = default;
    // Picks one of n > 1 answers: a number below n.
    virtual std::uint32_t choose(std::uint32_t n, Label label) = 0;
    // Picks the next event among those ready, in the order they became so.
    virtual std::uint32_t pick(std::span<const Candidate> ready);
    // Not nullptr: a pick is drawn from this stream (RandomStream::pick), whoever is ready. Then
    // the world draws it itself.
    virtual RandomStream* uniform() { return nullptr; }
    // What goes wrong at this site: a number below n > 1.
    virtual std::uint32_t fault(std::uint32_t n, Label site);
    // Whether a run has this feature, or leaves out this operation.
    virtual bool feature(Label name);
    virtual bool keep(Label operation);
    // True: every answer is the ordinary one, so the world need not ask.
    virtual bool in_order() const { return false; }
    virtual StepWatcher* watcher() { return nullptr; }
};

std::unique_ptr<Schedule> fifo_schedule();
// Every order and value equally likely; one fault in `fault_odds` where one is possible.
constexpr std::uint32_t fault_odds = 16;
std::unique_ptr<Schedule> random_schedule(std::uint64_t seed);
// Probabilistic concurrency testing: depth-1 changes of priority, somewhere in so many picks.
std::unique_ptr<Schedule> pct_schedule(std::uint64_t seed, std::uint32_t depth,
                                       std::uint64_t picks);
// First in first out, but for so many events, somewhere in so many picks.
std::unique_ptr<Schedule> few_schedule(std::uint64_t seed, std::uint32_t moves,
                                       std::uint64_t picks);
// Another schedule's order, in a run that draws which features and which fault sites it has.
std::unique_ptr<Schedule> swarm_schedule(std::uint64_t seed, std::unique_ptr<Schedule> order);
// Follows the record; past its end, or where it does not fit (another label, fewer answers), it
// goes on as random_schedule(seed) and says where and why through `diverged`.
std::unique_ptr<Schedule> replay_schedule(std::vector<Choice> record, std::uint64_t seed,
                                          std::string* diverged = nullptr);

}  // namespace sim
