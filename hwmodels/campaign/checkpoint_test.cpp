// SPDX-License-Identifier: Apache-2.0
// Holds:   a run that goes on from a workload's checkpoint has the trace of the run from the start,
//          also after runs that failed; S8 has the size it is known by.
// Method:  each workload that is prepared, under several schedules and seeds, both ways; the known
//          bugs switched on, one after the other; choices counted.
#include "hwmodels/campaign/workload.hpp"
#include "sim/mutant.hpp"
#include "sim/testing/catch.hpp"

namespace hwmodels::campaign {
namespace {

std::unique_ptr<sim::Schedule> schedule_of(std::uint64_t seed) {
    switch (seed % 4) {
    case 0: return sim::fifo_schedule();
    case 1: return sim::pct_schedule(seed, 3, 400);
    default: return sim::random_schedule(seed);
    }
}

// True: the run was right.
bool both_ways(const Workload& workload, std::uint64_t seed) {
    INFO("workload '" << workload.name << "', seed " << seed);
    const Verdict whole = run_once(workload, seed, schedule_of(seed), Record::yes, From::start);
    const Verdict rest = run_once(workload, seed, schedule_of(seed), Record::yes);
    CHECK(rest.failure == whole.failure);
    CHECK(rest.digest == whole.digest);
    CHECK(rest.events == whole.events);
    CHECK(rest.choices.size() == whole.choices.size());
    return rest.right();
}

TEST_CASE("campaign: from its checkpoint a run is the run from the start", "[campaign]") {
    unsigned prepared = 0;
    for (const Workload* workload : all_workloads()) {
        if (workload->prepare == nullptr) continue;
        ++prepared;
        for (std::uint64_t seed = 0; seed < 12; ++seed) CHECK(both_ways(*workload, seed));
    }
    CHECK(prepared > 0);
}

TEST_CASE("campaign: runs that fail leave the checkpoint as it was", "[campaign]") {
    if (!sim::mutants_built_in) return;
    struct Off {
        ~Off() { sim::set_mutant(""); }
    } off;
    const Workload& workload = *find_workload("S8");
    unsigned wrong = 0;
    for (const std::string& mutant : sim::all_mutants()) {
        REQUIRE(sim::set_mutant(mutant));
        INFO("mutant '" << mutant << "'");
        for (std::uint64_t seed = 0; seed < 3; ++seed) wrong += both_ways(workload, seed) ? 0 : 1;
    }
    CHECK(wrong > 0);
    REQUIRE(sim::set_mutant(""));
    for (std::uint64_t seed = 0; seed < 3; ++seed) CHECK(both_ways(workload, seed));
}

TEST_CASE("campaign: without its checks a run takes the same way", "[campaign]") {
    const Workload& workload = *find_workload("S8");
    for (std::uint64_t seed = 0; seed < 8; ++seed) {
        const Verdict unchecked = run_once(workload, seed, schedule_of(seed), Record::yes,
                                           From::checkpoint, Checks::off);
        CHECK(unchecked.failure == "");
        CHECK((seed % 4 == 0 || unchecked.choices.size() > 200));
    }
}

TEST_CASE("campaign: S8 has about four hundred scheduling points", "[campaign]") {
    constexpr std::uint64_t runs = 50;
    std::uint64_t points = 0;
    for (std::uint64_t seed = 0; seed < runs; ++seed) {
        const Verdict verdict =
            run_once(*find_workload("S8"), seed, sim::random_schedule(seed), Record::yes);
        for (const sim::Choice& choice : verdict.choices)
            points += choice.kind == sim::ChoiceKind::order ? 1 : 0;
    }
    CHECK(points / runs > 350);
    CHECK(points / runs < 450);
}

}  // namespace
}  // namespace hwmodels::campaign
