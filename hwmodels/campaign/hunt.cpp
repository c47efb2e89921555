// SPDX-License-Identifier: Apache-2.0
#include "hwmodels/campaign/hunt.hpp"

#include <algorithm>
#include <map>

namespace hwmodels::campaign {
namespace {

// How long the runs of a workload are: as long as its run 0, which is ordinary.
sim::explore::Measured measured(const HuntOptions& options, const Workload& workload) {
    return sim::explore::measure(trial_of(workload), options.seed, /*random_runs=*/0);
}

}  // namespace

sim::explore::Trial trial_of(const Workload& workload) {
    return [workload](sim::explore::Attempt attempt) {
        Verdict verdict = run_once(workload, attempt.seed, std::move(attempt.schedule));
        return sim::explore::Verdict{.failed = !verdict.right(),
                                     .signature = signature_of(verdict.failure),
                                     .text = std::move(verdict.failure),
                                     .digest = verdict.digest,
                                     .events = verdict.events,
                                     .end = std::move(verdict.end)};
    };
}

std::string signature_of(std::string_view failure) {
    std::string signature;
    for (const char c : failure.substr(0, failure.find('\n'))) {
        const bool digit = c >= '0' && c <= '9';
        if (!digit || signature.empty() || signature.back() != '#') signature += digit ? '#' : c;
    }
    return signature;
}

Hunted hunt(const HuntOptions& options) {
    struct Hunting {
        const Workload* workload;
        sim::explore::Trial trial;
        sim::explore::SearchOptions search;
    };
    std::vector<Hunting> all;
    for (const Workload* workload : all_workloads())
        if ((options.only == nullptr || options.only == workload) &&
            std::find(options.without.begin(), options.without.end(), workload) ==
                options.without.end())
            all.push_back({workload,
                           trial_of(*workload),
                           {.seed = options.seed, .strategies = options.strategies}});
    Hunted hunted;
    for (std::uint64_t run = 0;; ++run)
        for (Hunting& each : all) {
            if (hunted.schedules == options.schedules_max) return hunted;
            ++hunted.schedules;
            if (run == 1) each.search.measured = measured(options, *each.workload);
            auto found = run_batch(each.trial, each.search, run, 1).findings;
            if (found.empty()) continue;
            hunted.workload = each.workload;
            hunted.finding = std::move(found.front());
            return hunted;
        }
}

std::unique_ptr<sim::Schedule> schedule_of_run(const HuntOptions& options, const Workload& workload,
                                               std::uint64_t run) {
    return make_schedule(strategy_of_run(options.strategies, run), options.seed + run,
                         run == 0 ? sim::explore::Measured() : measured(options, workload));
}

}  // namespace hwmodels::campaign
