// SPDX-License-Identifier: Apache-2.0
// Hunt: runs of all workloads under one strategy after the other, until one of them goes wrong.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "hwmodels/campaign/workload.hpp"

namespace hwmodels::campaign {

enum class Strategy : std::uint8_t {
    fifo,       // first in, first out; the seed changes what the workload does
    random,     // any ready event may be next
    pct,        // priorities, with one or two changes of them
    portfolio,  // the others in turn
};
std::optional<Strategy> strategy_named(std::string_view name);
std::unique_ptr<sim::Schedule> schedule_for(Strategy strategy, std::uint64_t seed);

struct Finding {
    std::string workload;  // empty: nothing went wrong
    std::string failure;
    std::uint64_t seed = 0;
    std::uint64_t schedules = 0;  // runs made, the wrong one included
};

// Seeds from `seed` on, each for every workload, at most so many runs.
Finding hunt(Strategy strategy, std::uint64_t seed, std::uint64_t schedules_max);

}  // namespace hwmodels::campaign
