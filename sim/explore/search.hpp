// SPDX-License-Identifier: Apache-2.0
// Search: many runs of a trial under strategies, and what they found.
//
// A batch is a function of the search's options and of its range of runs alone. Merging the
// batches of a range in order gives what one batch of the whole range gives.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "sim/explore/strategy.hpp"
#include "sim/explore/trial.hpp"

namespace sim::explore {

// A way to fail, and the first run that did.
struct Finding {
    Verdict verdict;
    std::string strategy;
    std::uint64_t run = 0;
    std::uint64_t seed = 0;
    std::uint64_t count = 1;  // of runs that failed so
    bool repeats = true;      // false: the same schedule did not fail the same way again
    std::vector<Choice> choices;
};

struct SearchOptions {
    std::uint64_t seed = 0;
    std::vector<Strategy> strategies;
    Measured measured;
    std::function<bool()> go_on;  // asked before each run; false ends the batch early
    bool first_only = false;      // ends the batch at its first finding
};

struct BatchResult {
    std::uint64_t runs = 0;  // from the first of the range on
    std::uint64_t failures = 0;
    std::uint64_t events = 0;
    std::map<std::string, std::uint64_t> runs_by_strategy;
    std::vector<Finding> findings;  // by run; each signature once
};

BatchResult run_batch(const Trial& trial, const SearchOptions& options, std::uint64_t first,
                      std::uint64_t count);
void merge(BatchResult& into, BatchResult later);

// The run again, with what it was asked written down.
Finding examine(const Trial& trial, const Verdict& verdict, std::uint64_t seed,
                const std::function<std::unique_ptr<Schedule>()>& schedule);
// How a run of these choices ends.
Verdict replay(const Trial& trial, std::uint64_t seed, const std::vector<Choice>& choices,
               std::string* diverged = nullptr);

}  // namespace sim::explore
