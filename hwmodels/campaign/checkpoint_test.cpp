// SPDX-License-Identifier: Apache-2.0
// Holds:   a run that goes on from a workload's checkpoint has the trace of the run from the start,
//          also after runs that failed, and when the workload it was made for is gone or another
//          one has its name; S8 has the size it is known by.
// Method:  each workload that is prepared, under several schedules and seeds, both ways; the known
//          bugs switched on, one after the other; workloads that do not live on; choices counted.
#include "hwmodels/campaign/hunt.hpp"
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

TEST_CASE("campaign: a checkpoint outlives the workload it was made for", "[campaign]") {
    const Workload& s8 = *find_workload("S8");
    const Workload* other = nullptr;
    for (const Workload* workload : all_workloads())
        if (workload->prepare != nullptr && workload != &s8) other = workload;
    REQUIRE(other != nullptr);

    std::vector<std::unique_ptr<Workload>> gone;
    const auto run_a_copy = [&](Workload workload) {
        workload.name = "a copy";
        const auto& copy = gone.emplace_back(std::make_unique<Workload>(std::move(workload)));
        const Verdict verdict = run_once(*copy, 3, schedule_of(3));
        copy->run = nullptr;  // whoever still looks at it does not get far
        CHECK(verdict.failure == "");
        return verdict;
    };
    const Verdict first = run_a_copy(s8);
    CHECK(first.digest == run_once(s8, 3, schedule_of(3)).digest);
    CHECK(first.end.empty());
    Workload compared = s8;
    compared.compared = true;
    const Verdict second = run_a_copy(compared);
    CHECK(second.digest == first.digest);
    CHECK_FALSE(second.end.empty());

    CHECK(run_a_copy(*other).digest == run_once(*other, 3, schedule_of(3)).digest);
    CHECK(run_a_copy(s8).digest == first.digest);
}

TEST_CASE("campaign: a trial outlives the workload it is of", "[campaign]") {
    auto workload = std::make_unique<Workload>(*find_workload("S8"));
    const sim::explore::Trial trial = trial_of(*workload);
    workload->run = [](Rig&, sim::Co&) { Rig::fail("a workload that is gone"); };
    workload.reset();
    CHECK_FALSE(trial({.seed = 1, .schedule = sim::fifo_schedule()}).failed);
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
