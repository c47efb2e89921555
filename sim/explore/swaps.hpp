// SPDX-License-Identifier: Apache-2.0
// Swaps: whether steps that are taken to commute do.
//
// A run in some order is made again with two neighbours swapped that touch nothing in common. Then
// all events, what they touch, and the end must be the same; what is not was written by a step that
// did not say so.
#pragma once
#include <cstdint>
#include <string>

#include "sim/explore/trial.hpp"

namespace sim::explore {

struct Swaps {
    std::uint64_t made = 0;
    std::string difference;  // empty: none made one
};

// At most so many, of one run in a random order.
Swaps check_swaps(const Trial& trial, std::uint64_t seed, std::uint64_t swaps_max);

}  // namespace sim::explore
