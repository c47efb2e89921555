// SPDX-License-Identifier: Apache-2.0
#include "sim/explore/search.hpp"

#include <algorithm>

#include "sim/explore/run_log.hpp"

namespace sim::explore {
namespace {

std::uint64_t seed_of_run(const SearchOptions& options, std::uint64_t run) {
    return options.seed + run;
}

}  // namespace

Finding examine(const Trial& trial, const Verdict& verdict, std::uint64_t seed,
                const std::function<std::unique_ptr<Schedule>()>& schedule) {
    RunLog log;
    Finding finding;
    finding.seed = seed;
    finding.verdict = trial({seed, recorder(schedule(), log)});
    finding.repeats = finding.verdict.failed &&
                      finding.verdict.signature == verdict.signature &&
                      finding.verdict.digest == verdict.digest;
    if (!finding.repeats) finding.verdict = verdict;
    finding.choices = std::move(log.choices);
    return finding;
}

Verdict replay(const Trial& trial, std::uint64_t seed, const std::vector<Choice>& choices,
               std::string* diverged) {
    return trial({seed, replay_schedule(choices, seed, diverged)});
}

BatchResult run_batch(const Trial& trial, const SearchOptions& options, std::uint64_t first,
                      std::uint64_t count) {
    BatchResult result;
    for (std::uint64_t run = first; run < first + count; ++run) {
        if (options.go_on && !options.go_on()) break;
        const Strategy& strategy = strategy_of_run(options.strategies, run);
        const std::uint64_t seed = seed_of_run(options, run);
        const auto schedule = [&] { return make_schedule(strategy, seed, options.measured); };
        const Verdict verdict = trial({seed, schedule()});
        ++result.runs;
        ++result.runs_by_strategy[strategy.name()];
        result.events += verdict.events;
        if (!verdict.failed) continue;
        ++result.failures;
        const auto known = std::find_if(
            result.findings.begin(), result.findings.end(), [&](const Finding& finding) {
                return finding.verdict.signature == verdict.signature;
            });
        if (known != result.findings.end()) {
            ++known->count;
            continue;
        }
        Finding finding = examine(trial, verdict, seed, schedule);
        finding.strategy = strategy.name();
        finding.run = run;
        result.findings.push_back(std::move(finding));
        if (options.first_only) break;
    }
    return result;
}

void merge(BatchResult& into, BatchResult later) {
    into.runs += later.runs;
    into.failures += later.failures;
    into.events += later.events;
    for (const auto& [name, runs] : later.runs_by_strategy) into.runs_by_strategy[name] += runs;
    for (Finding& finding : later.findings) {
        const auto known = std::find_if(
            into.findings.begin(), into.findings.end(), [&](const Finding& other) {
                return other.verdict.signature == finding.verdict.signature;
            });
        if (known == into.findings.end())
            into.findings.push_back(std::move(finding));
        else
            known->count += finding.count;
    }
}

}  // namespace sim::explore
