// SPDX-License-Identifier: Apache-2.0
// Explain: the choice that makes the difference in a failing run, and the nearest run without the
// failure beside it.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "sim/explore/shrink.hpp"

namespace sim::explore {

struct Explanation {
    bool found = false;    // false: no single choice was found whose flip makes the run pass
    std::string critical;  // the choice, in a sentence
    std::uint64_t step = 0;  // of the failing run at which it was made, from 1
    Instant at;
    std::vector<Choice> passing;  // the nearest run that passes
    // A few steps of both runs around their first difference, one a line.
    std::uint64_t first_difference = 0;  // number of the step
    std::vector<std::string> failing_steps, passing_steps;
    std::uint64_t runs = 0;
};

struct ExplainOptions {
    std::uint64_t runs_max = 800;
    std::function<bool()> go_on;
};

Explanation explain(const Trial& trial, const Shrunk& shrunk, const ExplainOptions& options = {});

}  // namespace sim::explore
