// SPDX-License-Identifier: Apache-2.0
// Schedule: who runs next, and every other free choice of the world, as data.
//
// The world asks only where there is more than one answer; what was answered is the record of a
// run, and replaying the record replays the run.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "sim/label.hpp"

namespace sim {

struct Candidate {  // one event that could run next
    std::uint64_t id;
    std::uint32_t thread;
    Label label;
};

struct Choice {  // one answer: k of n
    Label label;
    std::uint32_t n;
    std::uint32_t k;
};

class Schedule {
public:
    virtual ~Schedule() = default;
    // Picks one of n > 1 answers: a number below n.
    virtual std::uint32_t choose(std::uint32_t n, Label label) = 0;
    // Picks the next event among those ready, in the order they became so.
    virtual std::uint32_t pick(std::span<const Candidate> ready);
    // True: the answer is always 0, so the world need not ask.
    virtual bool in_order() const { return false; }
};

std::unique_ptr<Schedule> fifo_schedule();
std::unique_ptr<Schedule> random_schedule(std::uint64_t seed);
// Probabilistic concurrency testing: depth-1 changes of priority, somewhere in so many picks.
std::unique_ptr<Schedule> pct_schedule(std::uint64_t seed, std::uint32_t depth,
                                       std::uint64_t picks);
// Follows the record; past its end, or where it does not fit (another label, fewer answers), it
// goes on as random_schedule(seed) and says so through `diverged`.
std::unique_ptr<Schedule> replay_schedule(std::vector<Choice> record, std::uint64_t seed,
                                          bool* diverged = nullptr);

}  // namespace sim
