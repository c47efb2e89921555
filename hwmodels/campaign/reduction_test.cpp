// SPDX-License-Identifier: Apache-2.0
// Holds:   steps of the block layer and of devices that are taken to commute do: a run with two of
//          them swapped has the same events, which touch the same, and the same end.
// Method:  every workload and small world in random orders, the seed printed, some neighbours of
//          each swapped.
#include <fmt/format.h>

#include <set>

#include "hwmodels/campaign/hunt.hpp"
#include "hwmodels/campaign/small_worlds.hpp"
#include "sim/explore/exhaustive.hpp"
#include "sim/explore/swaps.hpp"
#include "sim/testing/catch.hpp"

namespace hwmodels::campaign {
namespace {

std::uint64_t swap_some(const Workload& original, std::uint64_t seeds, std::uint64_t swaps_max) {
    Workload workload = original;
    workload.compared = true;
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
    for (const Workload* workload : all_workloads()) made += swap_some(*workload, 4, 4);
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

TEST_CASE("reduction: numbers", "[.numbers]") {
    for (const Workload& world : small_worlds())
        for (const std::uint32_t departures : {1U, 2U, UINT32_MAX}) {
            using sim::explore::Reduce;
            const Ends full =
                enumerate(world, {.departures = departures, .reduce = Reduce::no}, 30000);
            const Ends reduced = enumerate(world, {.departures = departures}, 30000);
            fmt::print("{} {}: {}{} runs {} ends | {}{} runs ({} equal) {} ends {}\n", world.name,
                       static_cast<int>(departures), full.whole ? "" : ">", full.runs,
                       full.ends.size(), reduced.whole ? "" : ">", reduced.runs, reduced.equal,
                       reduced.ends.size(), full.ends == reduced.ends ? "same" : "OTHER");
            for (const auto& f : reduced.failures) fmt::print("   {}\n", f);
        }
}

}  // namespace
}  // namespace hwmodels::campaign
