// SPDX-License-Identifier: Apache-2.0
// Examine: a run of a workload that went wrong, made small, explained and repeated.
#pragma once
#include <cstdint>
#include <string>

#include "hwmodels/campaign/hunt.hpp"
#include "sim/explore/shrink.hpp"

namespace hwmodels::campaign {

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

Examined examine(const Hunted& hunted);

}  // namespace hwmodels::campaign
