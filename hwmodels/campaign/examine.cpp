// SPDX-License-Identifier: Apache-2.0
#include "hwmodels/campaign/examine.hpp"

#include "sim/explore/explain.hpp"

namespace hwmodels::campaign {

sim::explore::Trial trial_of(const Workload& workload) {
    return [&workload](sim::explore::Attempt attempt) {
        Verdict verdict = run_once(workload, attempt.seed, std::move(attempt.schedule));
        return sim::explore::Verdict{.failed = !verdict.right(),
                                     .signature = signature_of(verdict.failure),
                                     .text = std::move(verdict.failure),
                                     .digest = verdict.digest,
                                     .events = verdict.events};
    };
}

std::string signature_of(std::string_view failure) {
    std::string signature;
    for (const char c : failure.substr(0, failure.find('\n'))) {
        const bool digit = c >= '0' && c <= '9';
        if (!digit || signature.empty() || signature.back() != '#') signature += digit ? '#' : c;
    }
    return signature;
}

Examined examine(const Workload& workload, Strategy strategy, std::uint64_t seed) {
    const sim::explore::Trial trial = trial_of(workload);
    const auto schedule = [&] { return schedule_for(strategy, seed); };
    const sim::explore::Verdict verdict = trial({seed, schedule()});
    const sim::explore::Finding finding =
        sim::explore::examine(trial, verdict, seed, schedule);
    const sim::explore::Shrunk shrunk =
        sim::explore::shrink(trial, seed, finding.choices, verdict.signature);
    Examined result;
    result.failure = shrunk.verdict.text;
    result.reproduced = finding.repeats && shrunk.reproduced;
    result.before = shrunk.before;
    result.after = shrunk.after;
    result.runs = shrunk.runs;
    if (!result.reproduced) return result;
    for (unsigned i = 0; i < repeats_wanted; ++i) {
        const auto again = sim::explore::replay(trial, seed, shrunk.log.choices);
        result.repeats += again.failed && again.digest == shrunk.verdict.digest ? 1 : 0;
    }
    const sim::explore::Explanation told = sim::explore::explain(trial, shrunk);
    result.runs += told.runs;
    result.critical = told.critical;
    result.step = told.step;
    return result;
}

}  // namespace hwmodels::campaign
