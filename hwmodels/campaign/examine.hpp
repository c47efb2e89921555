// SPDX-License-Identifier: Apache-2.0
// Examine: a run of a workload that went wrong, made small, explained and repeated.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "hwmodels/campaign/hunt.hpp"
#include "hwmodels/campaign/workload.hpp"
#include "sim/explore/shrink.hpp"

namespace hwmodels::campaign {

// The workload as something to explore; its operations are those of its guest loads.
sim::explore::Trial trial_of(const Workload& workload);
// What makes two failures the same: the first line, without the numbers of one run.
std::string signature_of(std::string_view failure);

struct Examined {
    bool reproduced = false;  // the run failed the same way again
    unsigned repeats = 0;     // how many of `repeats_wanted` replays of the record were that run
    sim::explore::Sizes before, after;
    std::uint64_t runs = 0;  // spent on shrinking and explaining
    std::string critical;    // the choice that makes the difference; empty: none was found
    std::uint64_t step = 0;
    std::string failure;
};
constexpr unsigned repeats_wanted = 1000;

// The run of this workload, strategy and seed, which went wrong.
Examined examine(const Workload& workload, Strategy strategy, std::uint64_t seed);

}  // namespace hwmodels::campaign
