// SPDX-License-Identifier: Apache-2.0
// Small worlds: workloads of a request or two, so small that all their orders can be run.
//
// They are no part of hunts: what holds in all their orders is for the exhaustive search.
#pragma once
#include <string_view>
#include <vector>

#include "hwmodels/campaign/workload.hpp"

namespace hwmodels::campaign {

const std::vector<Workload>& small_worlds();
const Workload* find_small_world(std::string_view name);  // nullptr: none

}  // namespace hwmodels::campaign
