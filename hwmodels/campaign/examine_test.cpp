// SPDX-License-Identifier: Apache-2.0
// Holds:   a workload is something to explore: one verdict per seed and schedule, requests that can
//          be left out without shifting others; signatures are without the numbers of one run.
// Method:  every workload as a trial, twice; one with requests left out.
#include "hwmodels/campaign/examine.hpp"

#include "sim/explore/plan.hpp"
#include "sim/testing/catch.hpp"

namespace hwmodels::campaign {
namespace {

TEST_CASE("examine: signatures") {
    CHECK(signature_of("sector 17 of 'd0' lost 4096 bytes\nmore") ==
          "sector # of 'd#' lost # bytes");
    CHECK(signature_of("") == "");
}

TEST_CASE("examine: a workload runs the same as a trial, with fewer requests too") {
    const Workload& workload = *all_workloads().front();
    const auto trial = trial_of(workload);
    const auto first = trial({3, sim::random_schedule(3)});
    CHECK(first.digest == run_once(workload, 3, sim::random_schedule(3)).digest);
    CHECK_FALSE(first.failed);

    sim::explore::RunLog log;
    trial({3, sim::explore::recorder(sim::random_schedule(3), log)});
    const auto asked = sim::explore::sizes_of(log).operations;
    CHECK(asked > 0);
    sim::explore::Plan plan = sim::explore::plan_of(log);
    plan.answers.push_back({sim::ChoiceKind::operation, "guest request 0", 0, 1});
    sim::explore::RunLog fewer;
    CHECK_FALSE(
        trial({3, sim::explore::recorder(sim::explore::plan_schedule(plan), fewer)}).failed);
    CHECK(sim::explore::sizes_of(fewer).operations == asked - 1);
}

}  // namespace
}  // namespace hwmodels::campaign
