// SPDX-License-Identifier: Apache-2.0
// How many schedules of S8 a CPU second brings, and what the invariants cost of it.
//
// A schedule is a whole run under an order of its own: from the checkpoint after the set-up, where
// the first choice is made, to the verified end.
#include <algorithm>
#include <vector>

#include "hwmodels/campaign/workload.hpp"
#include "sim/check.hpp"
#include "sim/testing/bench.hpp"

namespace hwmodels::campaign {
namespace {

constexpr std::uint64_t batch = 500;

struct Way {
    From from = From::checkpoint;
    Checks checks = Checks::on;
    std::uint64_t runs = 0;
    double seconds = 0;
};

[[gnu::noinline]] void run_batch(const Workload& workload, std::uint64_t seed, Way& way) {
    const sim::testing::CpuTimer timer;
    for (std::uint64_t end = seed + batch; seed < end; ++seed) {
        const Verdict verdict = run_once(workload, seed, sim::random_schedule(seed), Record::no,
                                         way.from, way.checks);
        INVARIANT(verdict.right());
    }
    way.seconds += timer.seconds();
    way.runs += batch;
}

bool is_order(const sim::Choice& choice) { return choice.kind == sim::ChoiceKind::order; }

// How often more than one event could have run next.
double scheduling_points(const Workload& workload) {
    std::ptrdiff_t points = 0;
    for (std::uint64_t seed = 0; seed < batch; ++seed) {
        const Verdict verdict =
            run_once(workload, seed, sim::random_schedule(seed), Record::yes);
        INVARIANT(verdict.right());
        points += std::count_if(verdict.choices.begin(), verdict.choices.end(), is_order);
    }
    return static_cast<double>(points) / batch;
}

void measure(sim::testing::BenchReport& report) {
    const Workload& workload = *find_workload("S8");
    report.row("S8 scheduling points a schedule", scheduling_points(workload), "choices");
    Way ways[] = {{}, {.checks = Checks::off}, {.from = From::start}};
    for (Way& way : ways) run_batch(workload, 0, way);  // what is made once is made
    for (Way& way : ways) way = {.from = way.from, .checks = way.checks};
    // By turns, so that whatever else runs on the machine slows all of them.
    for (std::uint64_t round = 0; round < 12; ++round)
        for (Way& way : ways) run_batch(workload, round * batch, way);
    const auto rate = [](const Way& way) { return static_cast<double>(way.runs) / way.seconds; };
    report.row("S8", rate(ways[0]), "schedules/CPU-s");
    report.row("S8, each from the start", rate(ways[2]), "schedules/CPU-s");
    report.row("S8, invariants off", rate(ways[1]), "schedules/CPU-s");
    report.row("S8, cost of invariants", 100 * (1 - rate(ways[0]) / rate(ways[1])), "%");
}

const sim::testing::BenchRegistration registration("schedules", measure);

}  // namespace
}  // namespace hwmodels::campaign
