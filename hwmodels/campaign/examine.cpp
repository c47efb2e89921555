// SPDX-License-Identifier: Apache-2.0
#include "hwmodels/campaign/examine.hpp"

#include "sim/check.hpp"
#include "sim/explore/explain.hpp"

namespace hwmodels::campaign {

Examined examine(const Hunted& hunted) {
    EXPECTS(hunted.workload != nullptr);
    const sim::explore::Finding& finding = hunted.finding;
    const sim::explore::Trial trial = trial_of(*hunted.workload);
    const sim::explore::Shrunk shrunk =
        sim::explore::shrink(trial, finding.seed, finding.choices, finding.verdict.signature);
    Examined result;
    result.failure = shrunk.verdict.text;
    result.reproduced = finding.repeats && shrunk.reproduced;
    result.before = shrunk.before;
    result.after = shrunk.after;
    result.runs = shrunk.runs;
    if (!result.reproduced) return result;
    for (unsigned i = 0; i < repeats_wanted; ++i) {
        const auto again = sim::explore::replay(trial, finding.seed, shrunk.log.choices);
        result.repeats += again.failed && again.digest == shrunk.verdict.digest ? 1 : 0;
    }
    const sim::explore::Explanation told = sim::explore::explain(trial, shrunk);
    result.runs += told.runs;
    result.critical = told.critical;
    result.step = told.step;
    return result;
}

}  // namespace hwmodels::campaign
