// SPDX-License-Identifier: Apache-2.0
// Holds:   steps of the block layer and of devices that are taken to commute do: a run with two of
//          them swapped has the same events, which touch the same, and the same end. Small worlds
//          come to the same ends and failures with the reduction as without, known bugs included.
// Method:  every workload and small world in random orders, the seed printed, some neighbours of
//          each swapped; the orders of small worlds in full, within bounds.
#include <algorithm>
#include <set>

#include "hwmodels/campaign/hunt.hpp"
#include "hwmodels/campaign/small_worlds.hpp"
#include "sim/explore/exhaustive.hpp"
#include "sim/explore/swaps.hpp"
#include "sim/mutant.hpp"
#include "sim/testing/catch.hpp"

namespace hwmodels::campaign {
namespace {

// The workload, but its runs give their ends.
Workload compared(Workload workload) {
    workload.compared = true;
    return workload;
}

std::uint64_t swap_some(const Workload& workload, std::uint64_t seeds, std::uint64_t swaps_max) {
    std::uint64_t made = 0;
    for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
        INFO("workload '" << workload.name << "', seed " << seed);
        const sim::explore::Swaps swaps = check_swaps(trial_of(workload), seed, swaps_max);
        CHECK(swaps.difference == "");
        made += swaps.made;
    }
    return made;
}

TEST_CASE("reduction: swapped neighbours that commute make no difference", "[campaign]") {
    std::uint64_t made = 0;
    for (const Workload* workload : all_workloads()) made += swap_some(compared(*workload), 4, 4);
    for (const Workload& world : small_worlds()) made += swap_some(world, 6, 4);
    CHECK(made > 150);
}

// Every end of the world there is within these limits.
struct Ends {
    std::set<std::string> ends, failures;
    std::uint64_t runs = 0, equal = 0;
    bool whole = false;
};

Ends enumerate(const Workload& world, const sim::explore::ExhaustiveLimits& limits,
               std::uint64_t runs_max) {
    Ends all;
    const sim::explore::Trial judge = trial_of(world);
    const sim::explore::Trial trial = [&](sim::explore::Attempt attempt) {
        sim::explore::Verdict verdict = judge(std::move(attempt));
        if (verdict.failed)
            all.failures.insert(verdict.signature);
        else
            all.ends.insert(verdict.end);
        return verdict;
    };
    sim::explore::Frontier frontier(limits);
    const sim::explore::SearchOptions options;
    while (!frontier.done() && frontier.runs() < runs_max) {
        const auto portions = frontier.next(1);
        frontier.finished({run_portion(trial, options, limits, portions[0])});
        // As after a night's sleep.
        if (frontier.runs() % 64 == 0)
            frontier = *sim::explore::Frontier::parse(frontier.to_text());
    }
    all.whole = frontier.done();
    all.runs = frontier.runs();
    all.equal = frontier.commuting();
    return all;
}

bool within(const std::set<std::string>& some, const std::set<std::string>& all) {
    return std::includes(all.begin(), all.end(), some.begin(), some.end());
}

constexpr std::uint64_t runs_max = 3000;

// Gives how many ways to fail the full search found.
std::size_t check_world(const Workload& world) {
    INFO("world '" << world.name << "', mutant '" << sim::current_mutant() << "'");
    using sim::explore::Reduce;
    const Ends full = enumerate(world, {.departures = 1, .reduce = Reduce::no}, runs_max);
    const Ends reduced = enumerate(world, {.departures = 2}, runs_max);
    CHECK(full.whole);
    CHECK(within(full.ends, reduced.ends));
    CHECK(within(full.failures, reduced.failures));
    return full.failures.size();
}

TEST_CASE("reduction: small worlds come to the same ends", "[campaign]") {
    for (const Workload& world : small_worlds()) CHECK(check_world(world) == 0);

    const Ends all = enumerate(*find_small_world("two disks"), {}, runs_max);
    CHECK(all.whole);
    CHECK(all.runs < 50);  // of 5,148
    CHECK(all.ends.size() == 1);
    CHECK(all.failures.empty());
}

TEST_CASE("reduction: known bugs are found with it as without", "[campaign]") {
    struct Off {
        ~Off() { sim::set_mutant(""); }
    } off;
    std::size_t failures = 0;
    for (const char* mutant : {"S05", "S11", "drain: does not wait",
                               "requests: a plain write does not look for serialising ones",
                               "drain: nobody is told of the end"}) {
        if (!sim::set_mutant(mutant)) continue;  // built without
        for (const Workload& world : small_worlds()) failures += check_world(world);
    }
    CHECK((failures > 0) == sim::mutants_built_in);
}

}  // namespace
}  // namespace hwmodels::campaign
