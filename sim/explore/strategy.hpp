// SPDX-License-Identifier: Apache-2.0
// Strategy: which schedule the n-th run of a search has; a function of n and the search's seed
// alone, so that a search may be cut into pieces and spread in any way.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "sim/expected.hpp"
#include "sim/explore/trial.hpp"

namespace sim::explore {

struct Strategy {
    enum class Kind : std::uint8_t { fifo, random, few, pct };
    Kind kind;
    std::uint32_t depth = 0;  // few: moves; pct: ordering constraints
    bool swarm = false;
    std::string name() const;
};

// "fifo", "random", "few:2", "pct:3", "swarm" (over random), "swarm+few:2", "swarm+pct:3", several
// with commas between them, or "portfolio". The error is a sentence.
Expected<std::vector<Strategy>, std::string> parse_strategies(std::string_view text);

// How long runs are, for strategies that spread their moments over one.
struct Measured {
    std::uint64_t picks = 1;      // order choices
    std::uint64_t runnables = 1;  // that took part in one
};
// From one run in line and a few at random.
Measured measure(const Trial& trial, std::uint64_t seed, std::uint64_t random_runs = 3);

// Run 0 of every search is first in, first out.
const Strategy& strategy_of_run(const std::vector<Strategy>& strategies, std::uint64_t run);
std::unique_ptr<Schedule> make_schedule(const Strategy& strategy, std::uint64_t seed,
                                        const Measured& measured);

// How likely it is that so many PCT runs of this depth all miss a bug that needs `depth` ordering
// constraints, at most.
double pct_miss_bound(std::uint64_t runs, std::uint32_t depth, const Measured& measured);

}  // namespace sim::explore
