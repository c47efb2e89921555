// SPDX-License-Identifier: Apache-2.0
#include "sim/explore/exhaustive.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "sim/check.hpp"
#include "sim/explore/plan.hpp"

namespace sim::explore {
namespace {

constexpr std::uint32_t portion_choices = 16;

// Where a prefix's children begin: after its last departure, so that each is made once.
std::uint32_t begin_of(const Prefix& prefix) {
    return prefix.departures.empty() ? 0 : prefix.departures.back().choice + 1;
}

class PortionRun {
public:
    PortionRun(const Trial& trial, const SearchOptions& options, const ExhaustiveLimits& limits,
               const Portion& portion)
        : trial_(trial), options_(options), limits_(limits), portion_(portion) {}

    PortionResult run() {
        if (portion_.to == 0) {
            run_prefix(portion_.prefix);
            return std::move(result_);
        }
        Path parent;
        trial_({options_.seed, walk(portion_.prefix, limits_.reduce, parent)});
        const std::size_t end = std::min<std::size_t>(portion_.to, parent.points.size());
        for (std::size_t at = portion_.from; at < end && result_.complete; ++at)
            if (departs(parent, at)) depart(parent.points[at], static_cast<std::uint32_t>(at));
        return std::move(result_);
    }

private:
    // Whether all that could have been answered here is to be run.
    bool departs(const Path& path, std::size_t at) const {
        const ChoiceKind kind = path.points[at].kind;
        if (at >= limits_.depth || at >= choices_of(path)) return false;
        if (kind == ChoiceKind::operation) return false;  // they are there to be done
        if (kind != ChoiceKind::order) return true;
        return limits_.reduce == Reduce::no &&
               preemptions(portion_.prefix.departures, path) < limits_.preemptions;
    }

    // Those before it is equal to another run.
    static std::size_t choices_of(const Path& path) {
        for (std::size_t i = path.redundant_from; i < path.steps.size(); ++i)
            if (path.steps[i].choice != Ran::none) return path.steps[i].choice;
        return path.points.size();
    }

    static std::uint32_t preemptions(const std::vector<Departure>& departures, const Path& path) {
        return static_cast<std::uint32_t>(
            std::count_if(departures.begin(), departures.end(), [&](const Departure& d) {
                return d.choice < path.points.size() &&
                       path.points[d.choice].kind == ChoiceKind::order;
            }));
    }

    void depart(const Point& point, std::uint32_t at) {
        for (std::uint32_t k = 0; k < point.n; ++k) {
            if (k == point.k) continue;
            if (options_.go_on && !options_.go_on()) {
                result_.complete = false;
                return;
            }
            Prefix child{portion_.prefix.departures, 0};
            child.departures.push_back({at, k, {}});
            run_prefix(std::move(child));
        }
    }

    void run_prefix(Prefix prefix) {
        Path path;
        const Verdict verdict =
            trial_({options_.seed, walk(prefix, limits_.reduce, path)});
        BatchResult one;
        one.runs = 1;
        one.events = verdict.events;
        one.runs_by_strategy["exhaustive"] = 1;
        if (path.redundant_from < path.steps.size()) ++result_.commuting;
        if (verdict.failed) {
            one.failures = 1;
            std::vector<std::uint32_t> answers;
            for (const Point& point : path.points) answers.push_back(point.k);
            Finding finding = examine(trial_, verdict, options_.seed,
                                      [&] { return forced_schedule(answers); });
            finding.strategy = fmt::format("exhaustive:{}", prefix.departures.size());
            one.findings.push_back(std::move(finding));
        }
        merge(result_.found, std::move(one));
        if (limits_.reduce == Reduce::yes) ask_for_reversals(prefix, path);
        prefix.choices = begin_of(prefix);
        for (std::size_t at = path.points.size(); at-- > begin_of(prefix);)
            if (departs(path, at)) {
                prefix.choices = static_cast<std::uint32_t>(at + 1);
                break;
            }
        result_.growth.prefixes.push_back(std::move(prefix));
    }

    void ask_for_reversals(const Prefix& prefix, const Path& path) {
        for (Reversal& reversal : reversals(prefix, path))
            if (reversal.choice < limits_.depth &&
                preemptions(reversal.departures, path) < limits_.preemptions)
                result_.growth.reversals.push_back(std::move(reversal));
    }

    const Trial& trial_;
    const SearchOptions& options_;
    const ExhaustiveLimits& limits_;
    const Portion& portion_;
    PortionResult result_;
};

}  // namespace

PortionResult run_portion(const Trial& trial, const SearchOptions& options,
                          const ExhaustiveLimits& limits, const Portion& portion) {
    return PortionRun(trial, options, limits, portion).run();
}

Frontier::Frontier(const ExhaustiveLimits& limits) : limits_(limits) { add(0, {}); }

void Frontier::add(std::size_t departures, Portion portion) {
    if (departures > limits_.departures) {
        cut_ = true;
        return;
    }
    if (levels_.size() <= departures) levels_.resize(departures + 1);
    levels_[departures].known += size_of(portion);
    levels_[departures].left.push_back(std::move(portion));
}

const Frontier::Level* Frontier::first_left(std::size_t* departures) const {
    for (const Level& level : levels_) {
        if (level.left.empty()) continue;
        if (departures != nullptr) *departures = static_cast<std::size_t>(&level - &levels_[0]);
        return &level;
    }
    return nullptr;
}

std::vector<Portion> Frontier::next(std::size_t count) const {
    std::vector<Portion> portions;
    std::size_t departures = 0;
    const Level* level = first_left(&departures);
    if (level == nullptr) return portions;
    // Of one level only: what they lead to may come before the next.
    for (Portion left : level->left) {
        while (portions.size() < count) {
            portions.push_back(cut(left));
            if (portions.back().to == left.to) break;
            left.from = portions.back().to;
        }
        if (portions.size() == count) break;
    }
    return portions;
}

Portion Frontier::cut(const Portion& left) {
    return {left.prefix, left.from, std::min(left.from + portion_choices, left.to)};
}

void Frontier::finished(const std::vector<PortionResult>& results) {
    if (results.empty()) return;
    std::size_t departures = 0;
    EXPECTS(first_left(&departures) != nullptr);
    for (std::size_t i = 0; i < results.size(); ++i) {
        Level& level = levels_[departures];
        EXPECTS(results[i].complete && !level.left.empty());
        Portion& first = level.left.front();
        const Portion done = cut(first);
        level.done += size_of(done);
        first.from = done.to;
        if (first.from == first.to) level.left.pop_front();
    }
    for (const PortionResult& result : results) {
        runs_ += result.found.runs;
        commuting_ += result.commuting;
        for (const Prefix& prefix : result.growth.prefixes) {
            if (begin_of(prefix) < prefix.choices)
                add(prefix.departures.size() + 1, {prefix, begin_of(prefix), prefix.choices});
        }
        for (const Reversal& reversal : result.growth.reversals) take(reversal);
    }
}

void Frontier::take(const Reversal& reversal) {
    std::vector<std::uint32_t> where;
    for (const Departure& departure : reversal.departures) {
        where.push_back(departure.choice);
        where.push_back(departure.k);
    }
    where.push_back(reversal.choice);
    std::vector<Tried>& tried = tried_[where];
    if (tried.empty()) tried.push_back(reversal.picked);
    for (const Reversal::Beginning& beginning : reversal.beginnings)
        for (const Tried& one : tried)
            if (one.event == beginning.tried.event) return;
    const Reversal::Beginning& beginning = reversal.beginnings.front();
    Portion run{{reversal.departures, 0}, 0, 0};
    run.prefix.departures.push_back({reversal.choice, beginning.k, tried});
    tried.push_back(beginning.tried);
    add(reversal.departures.size() + 1, std::move(run));
}

std::string Frontier::told() const {
    if (runs_ == 0) return "nothing is done yet";
    std::string text;
    std::size_t departures = 0;
    if (const Level* level = first_left(&departures)) {
        text = fmt::format(
            "all known runs with at most {} departures are done; of those with {} some {:.1f} %; "
            "{} runs",
            departures - 1, departures,
            100.0 * static_cast<double>(level->done) / static_cast<double>(level->known), runs_);
    } else if (cut_) {
        text = fmt::format("all runs with at most {} departures are done: {} runs",
                           limits_.departures, runs_);
    } else {
        text = fmt::format("the whole space is done: {} runs", runs_);
    }
    if (limits_.preemptions != UINT32_MAX)
        text += fmt::format(", at most {} pre-emptions each", limits_.preemptions);
    if (limits_.depth != UINT32_MAX)
        text += fmt::format(", the first {} choices", limits_.depth);
    if (commuting_ > 0) text += fmt::format(", {} of them equal to others", commuting_);
    return text;
}

}  // namespace sim::explore
