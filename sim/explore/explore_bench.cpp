// SPDX-License-Identifier: Apache-2.0
// What a schedule costs: runs of one small world, 400 picks among 8 fibers, per CPU second.
#include "sim/explore/search.hpp"
#include "sim/testing/bench.hpp"
#include "sim/world.hpp"

namespace sim::explore {
namespace {

Verdict small_world(Attempt attempt) {
    World world({.seed = attempt.seed, .schedule = std::move(attempt.schedule)});
    for (int i = 0; i < 8; ++i)
        world.spawn(world.main_thread(), "worker", [](Co& co) {
            for (int turn = 0; turn < 50; ++turn) co.yield("turn");
        });
    world.run_until_idle();
    return {.digest = world.trace().digest(), .events = world.events_run()};
}

double runs_a_second(const char* strategy) {
    constexpr std::uint64_t runs = 10'000;
    SearchOptions options;
    options.strategies = *parse_strategies(strategy);
    options.measured = measure(small_world, 0);
    const testing::CpuTimer timer;
    const BatchResult result = run_batch(small_world, options, 1, runs);
    INVARIANT(result.runs == runs && result.failures == 0);
    return runs / timer.seconds();
}

const testing::BenchRegistration registration("explore", [](testing::BenchReport& report) {
    report.row("explore 400 picks, fifo", runs_a_second("fifo"), "runs/CPU-s");
    report.row("explore 400 picks, random", runs_a_second("random"), "runs/CPU-s");
    report.row("explore 400 picks, few", runs_a_second("few:2"), "runs/CPU-s");
    report.row("explore 400 picks, pct", runs_a_second("pct:3"), "runs/CPU-s");
    report.row("explore 400 picks, swarm", runs_a_second("swarm+random"), "runs/CPU-s");
});

}  // namespace
}  // namespace sim::explore
