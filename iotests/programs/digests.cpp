// SPDX-License-Identifier: Apache-2.0
// blockstep-digests: the digests of many runs of the campaign's workloads, to be held against those
// of another build or another time.
//
//     blockstep-digests SEED RUNS    one line a run: "<workload> <strategy> <seed> <digest>"
//
// Every workload in turn, under the strategies of the portfolio, each run with a seed of its own.
#include <fmt/format.h>

#include <cstdio>
#include <string_view>

#include "hwmodels/campaign/examine.hpp"
#include "iotests/programs/words.hpp"
#include "sim/check.hpp"
#include "sim/explore/strategy.hpp"

namespace {

namespace campaign = hwmodels::campaign;
namespace explore = sim::explore;

void print_digests(std::uint64_t seed, std::uint64_t runs) {
    const auto strategies = explore::parse_strategies("portfolio");
    INVARIANT(strategies);
    const auto workloads = campaign::all_workloads();
    std::vector<explore::Measured> measured;
    for (const campaign::Workload* workload : workloads)
        measured.push_back(explore::measure(campaign::trial_of(*workload), seed));
    for (std::uint64_t run = 0; run < runs; ++run) {
        const std::size_t i = run % workloads.size();
        const explore::Strategy& strategy =
            explore::strategy_of_run(*strategies, run / workloads.size());
        const explore::Verdict verdict = campaign::trial_of(*workloads[i])(
            {seed + run, explore::make_schedule(strategy, seed + run, measured[i])});
        fmt::print("{} {} {} {:016x}{}\n", workloads[i]->name, strategy.name(), seed + run,
                   verdict.digest, verdict.failed ? " failed" : "");
    }
}

}  // namespace

int main(int argc, char** argv) {
    std::uint64_t seed = 0, runs = 0;
    if (argc != 3 || !parse(argv[1], seed) || !parse(argv[2], runs)) {
        std::fputs("usage: blockstep-digests SEED RUNS\n", stderr);
        return 2;
    }
    print_digests(seed, runs);
    return 0;
}
