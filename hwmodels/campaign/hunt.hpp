// SPDX-License-Identifier: Apache-2.0
// Hunt: runs of all workloads in turn, under the strategies of sim/explore, until one goes wrong.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "hwmodels/campaign/workload.hpp"
#include "sim/explore/search.hpp"

namespace hwmodels::campaign {

// The workload as something to explore; its operations are the requests of its guests and what its
// administrator does.
sim::explore::Trial trial_of(const Workload& workload);
// What makes two failures the same: the first line, without the numbers of one run.
std::string signature_of(std::string_view failure);

struct HuntOptions {
    std::vector<sim::explore::Strategy> strategies;
    std::uint64_t seed = 1;  // of run 0
    std::uint64_t schedules_max = 1000;
    const Workload* only = nullptr;  // nullptr: all workloads
    std::vector<const Workload*> without;
};

struct Hunted {
    const Workload* workload = nullptr;  // nullptr: nothing went wrong
    sim::explore::Finding finding;
    std::uint64_t schedules = 0;  // runs made, the wrong one included
};

// Run 0 of every workload, then run 1 of every one, and so on.
Hunted hunt(const HuntOptions& options);
// The schedule of one of these runs; its seed is options.seed + run.
std::unique_ptr<sim::Schedule> schedule_of_run(const HuntOptions& options, const Workload& workload,
                                               std::uint64_t run);

}  // namespace hwmodels::campaign
