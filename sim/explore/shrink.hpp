// SPDX-License-Identifier: Apache-2.0
// Shrink: the same failure from a run with fewer operations, fewer faults, fewer values and
// features out of the ordinary, and fewer events moved out of their place; each on its own.
//
// source  Zeller, Hildebrandt: Simplifying and Isolating Failure-Inducing Input (IEEE TSE 2002).
#pragma once
#include <cstdint>
#include <functional>
#include <vector>

#include "sim/explore/plan.hpp"
#include "sim/explore/search.hpp"
#include "sim/explore/trial.hpp"

namespace sim::explore {

struct Sizes {
    std::size_t operations = 0;  // done
    std::size_t faults = 0;
    std::size_t values = 0;  // and features
    std::size_t moves = 0;
};
Sizes sizes_of(const RunLog& log);

struct ShrinkOptions {
    std::uint64_t runs_max = 4000;
    std::function<bool()> go_on;  // false: what is reached so far will do
};

struct Shrunk {
    bool reproduced = false;  // false: the run did not fail the same way, nothing was tried
    std::uint64_t seed = 0;
    Verdict verdict;
    Plan plan;
    RunLog log;
    Sizes before, after;
    std::uint64_t runs = 0;
};

Shrunk shrink(const Trial& trial, std::uint64_t seed, const std::vector<Choice>& choices,
              const std::string& signature, const ShrinkOptions& options = {});

}  // namespace sim::explore
