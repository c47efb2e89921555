// SPDX-License-Identifier: Apache-2.0
#include "hwmodels/campaign/workload.hpp"

#include <map>

#include "sim/check.hpp"

namespace hwmodels::campaign {
namespace {

constexpr std::uint64_t event_limit = 60'000;  // far beyond any workload's own

std::map<std::string, Workload, std::less<>>& registry() {
    static std::map<std::string, Workload, std::less<>> workloads;
    return workloads;
}

}  // namespace

WorkloadRegistration::WorkloadRegistration(Workload workload) {
    EXPECTS(workload.run != nullptr);
    std::string name = workload.name;
    const bool fresh = registry().emplace(std::move(name), std::move(workload)).second;
    EXPECTS(fresh);
}

const Workload* find_workload(std::string_view name) {
    const auto found = registry().find(name);
    return found == registry().end() ? nullptr : &found->second;
}

std::vector<const Workload*> all_workloads() {
    std::vector<const Workload*> all;
    for (const auto& [name, workload] : registry()) all.push_back(&workload);
    return all;
}

Verdict run_once(const Workload& workload, std::uint64_t seed,
                 std::unique_ptr<sim::Schedule> schedule, Record record) {
    Verdict verdict;
    RigOptions options;
    options.world.seed = seed;
    options.world.schedule = std::move(schedule);
    options.world.record_choices = record == Record::yes;
    options.world.event_limit = event_limit;
    options.layer.limits = workload.limits;
    options.cache = workload.cache;
    Rig rig(std::move(options));
    try {
        rig.world.run([&](sim::Co& co) { workload.run(rig, co); });
    } catch (const std::exception& broken) {
        verdict.failure = broken.what();
    }
    verdict.digest = rig.world.trace().digest();
    verdict.events = rig.world.events_run();
    verdict.choices = rig.world.choices();
    return verdict;
}

}  // namespace hwmodels::campaign
