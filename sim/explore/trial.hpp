// SPDX-License-Identifier: Apache-2.0
// Trial: what is explored. Each call builds a world with the attempt's seed and schedule, runs it
// and judges how it ended; calls follow one another, thousands a second, and share nothing.
//
//     const Trial trial = [](Attempt attempt) {
//         World world({.seed = attempt.seed, .schedule = std::move(attempt.schedule)});
//         ...
//         return Verdict{.failed = lost, .signature = "a flushed byte is lost"};
//     };
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "sim/schedule.hpp"

namespace sim::explore {

struct Attempt {
    std::uint64_t seed;
    std::unique_ptr<Schedule> schedule;
};

struct Verdict {
    bool failed = false;
    std::string signature;  // of a failure: equal for the same one, so without numbers of the run
    std::string text;       // for people
    std::uint64_t digest = 0;
    std::uint64_t events = 0;
    // What can be seen of how it ended, for those who compare runs: equal for equal ends.
    std::string end = {};
};

using Trial = std::function<Verdict(Attempt)>;

}  // namespace sim::explore
