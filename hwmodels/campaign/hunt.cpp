// SPDX-License-Identifier: Apache-2.0
#include "hwmodels/campaign/hunt.hpp"

namespace hwmodels::campaign {
namespace {

constexpr std::uint64_t picks_expected = 400;  // of a workload: where PCT puts its changes

}  // namespace

std::optional<Strategy> strategy_named(std::string_view name) {
    if (name == "fifo") return Strategy::fifo;
    if (name == "random") return Strategy::random;
    if (name == "pct") return Strategy::pct;
    if (name == "portfolio") return Strategy::portfolio;
    return {};
}

std::unique_ptr<sim::Schedule> schedule_for(Strategy strategy, std::uint64_t seed) {
    switch (strategy) {
    case Strategy::fifo: return sim::fifo_schedule();
    case Strategy::random: return sim::random_schedule(seed);
    case Strategy::pct:
        return sim::pct_schedule(seed, 2 + static_cast<std::uint32_t>(seed % 2), picks_expected);
    case Strategy::portfolio: break;
    }
    constexpr Strategy in_turn[] = {Strategy::random, Strategy::pct, Strategy::random,
                                    Strategy::fifo};
    return schedule_for(in_turn[seed % std::size(in_turn)], seed);
}

Finding hunt(Strategy strategy, std::uint64_t seed, std::uint64_t schedules_max) {
    Finding found;
    for (;; ++seed) {
        for (const Workload* workload : all_workloads()) {
            if (found.schedules == schedules_max) return found;
            ++found.schedules;
            Verdict verdict = run_once(*workload, seed, schedule_for(strategy, seed));
            if (verdict.right()) continue;
            found.workload = workload->name;
            found.failure = std::move(verdict.failure);
            found.seed = seed;
            return found;
        }
    }
}

}  // namespace hwmodels::campaign
