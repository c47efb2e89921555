// SPDX-License-Identifier: Apache-2.0
// Holds:   with a known bug switched on, ordinary workloads go wrong and the invariants say so;
//          builds that are not for tests contain no such bug.
// Method:  a few mutants that are found within a hundred runs, each found twice alike.
#include "hwmodels/campaign/hunt.hpp"
#include "sim/mutant.hpp"
#include "sim/testing/catch.hpp"

namespace hwmodels::campaign {
namespace {

TEST_CASE("hunt: known bugs are found, and found again", "[campaign]") {
    if (!sim::mutants_built_in) {
        CHECK(sim::all_mutants().empty());
        return;
    }
    struct Off {
        ~Off() { sim::set_mutant(""); }
    } off;
    for (const char* mutant : {"S05", "S11", "S19", "qcow2: dirty tables are dropped"}) {
        INFO(mutant);
        REQUIRE(sim::set_mutant(mutant));
        const HuntOptions options{*sim::explore::parse_strategies("portfolio"), 1, 400};
        const Hunted first = hunt(options);
        REQUIRE(first.workload != nullptr);
        CHECK(first.finding.repeats);
        const Verdict again =
            run_once(*first.workload, first.finding.seed,
                     schedule_of_run(options, *first.workload, first.finding.run));
        CHECK(again.failure == first.finding.verdict.text);
    }
}

}  // namespace
}  // namespace hwmodels::campaign
