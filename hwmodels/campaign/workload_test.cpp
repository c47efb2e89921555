// SPDX-License-Identifier: Apache-2.0
// Holds:   every workload passes under every schedule; a run is a function of seed and schedule.
// Method:  each under a few seeds and strategies, each run twice.
#include "hwmodels/campaign/workload.hpp"
#include "sim/mutant.hpp"
#include "sim/testing/catch.hpp"

namespace hwmodels::campaign {
namespace {

TEST_CASE("campaign: right code passes every workload, and the same run gives the same digest",
          "[campaign]") {
    REQUIRE_FALSE(all_workloads().empty());
    // Builds for tests check the whole graph after every change, and may be instrumented.
    const std::uint64_t seeds = sim::mutants_built_in ? 4 : 20;
    for (const Workload* workload : all_workloads()) {
        for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
            INFO("workload '" << workload->name << "', seed " << seed);
            const auto run = [&] {
                return run_once(
                    *workload, seed,
                    seed % 2 == 0 ? sim::random_schedule(seed) : sim::pct_schedule(seed, 3, 400));
            };
            const Verdict first = run(), second = run();
            CHECK(first.failure == "");
            CHECK(first.digest == second.digest);
        }
    }
}

}  // namespace
}  // namespace hwmodels::campaign
