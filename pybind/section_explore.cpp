// SPDX-License-Identifier: Apache-2.0
// Python view of exploring: searches, shrinking and explaining, over a trial in Python.
//
// A trial is called as trial(schedule, seed) and gives (failed, signature, text, digest, events).
// One whose `apart` is true has each run in a process of its own.
#include <fmt/format.h>
#include <pybind11/stl.h>

#include "pybind/forked_trial.hpp"
#include "pybind/schedule_handle.hpp"
#include "pybind/section.hpp"
#include "sim/choice_record.hpp"
#include "sim/explore/exhaustive.hpp"
#include "sim/explore/explain.hpp"

namespace bindings {
namespace {

namespace explore = sim::explore;

explore::Trial trial_of(const py::function& function) {
    explore::Trial trial = [function](explore::Attempt attempt) {
        auto handle = std::make_unique<ScheduleHandle>();
        handle->schedule = std::move(attempt.schedule);
        const py::object schedule = py::cast(std::move(handle));
        const auto told =
            function(schedule, attempt.seed)
                .cast<std::tuple<bool, std::string, std::string, std::string, std::uint64_t>>();
        return explore::Verdict{.failed = std::get<0>(told),
                                .signature = std::get<1>(told),
                                .text = std::get<2>(told),
                                .digest = std::stoull(std::get<3>(told), nullptr, 16),
                                .events = std::get<4>(told)};
    };
    const bool apart = py::getattr(function, "apart", py::bool_(false)).cast<bool>();
    return apart ? forked_trial(std::move(trial)) : trial;
}

std::function<bool()> asked(const py::object& go_on) {
    if (go_on.is_none()) return nullptr;
    return [go_on] { return go_on().cast<bool>(); };
}

template <class T>
T or_raise(sim::Expected<T, std::string> value) {
    if (!value) throw py::value_error(value.error());
    return *std::move(value);
}

explore::SearchOptions options_of(std::uint64_t seed, const std::string& strategies,
                                  std::uint64_t picks, std::uint64_t runnables,
                                  const py::object& go_on) {
    if (picks == 0 || runnables == 0) throw py::value_error("picks and runnables are above 0");
    return {.seed = seed,
            .strategies = or_raise(explore::parse_strategies(strategies)),
            .measured = {picks, runnables},
            .go_on = asked(go_on)};
}

std::string digest_text(std::uint64_t digest) { return fmt::format("{:016x}", digest); }

py::dict to_python(const explore::BatchResult& result) {
    py::list findings;
    for (const explore::Finding& finding : result.findings)
        findings.append(py::dict(
            "signature"_a = finding.verdict.signature, "text"_a = finding.verdict.text,
            "digest"_a = digest_text(finding.verdict.digest),
            "events"_a = finding.verdict.events, "strategy"_a = finding.strategy,
            "run"_a = finding.run, "seed"_a = finding.seed, "count"_a = finding.count,
            "repeats"_a = finding.repeats,
            "record"_a = sim::to_text({{}, finding.choices})));
    return py::dict("runs"_a = result.runs, "failures"_a = result.failures,
                    "events"_a = result.events,
                    "runs_by_strategy"_a = py::cast(result.runs_by_strategy),
                    "findings"_a = findings);
}

py::dict run_portion(const py::function& trial, std::uint64_t seed, std::uint32_t preemptions,
                     std::uint32_t depth, const std::string& portion, const py::object& go_on) {
    explore::SearchOptions options{.seed = seed, .go_on = asked(go_on)};
    const auto result = explore::run_portion(
        trial_of(trial), options, {.preemptions = preemptions, .depth = depth},
        or_raise(explore::parse_portion(portion)));
    py::dict told = to_python(result.found);
    told["growth"] = explore::to_text(result.growth);
    told["commuting"] = result.commuting;
    told["complete"] = result.complete;
    return told;
}

void finish_portions(explore::Frontier& frontier, const py::list& results) {
    std::vector<explore::PortionResult> portions;
    for (const py::handle one : results) {
        const auto told = one.cast<py::dict>();
        explore::PortionResult portion;
        portion.found.runs = told["runs"].cast<std::uint64_t>();
        portion.commuting = told["commuting"].cast<std::uint64_t>();
        portion.growth = or_raise(explore::parse_growth(told["growth"].cast<std::string>()));
        portions.push_back(std::move(portion));
    }
    if (portions.size() > frontier.next(portions.size()).size())
        throw py::value_error("more results than portions");
    frontier.finished(portions);
}

py::dict to_python(const explore::Sizes& sizes) {
    return py::dict("operations"_a = sizes.operations, "faults"_a = sizes.faults,
                    "values"_a = sizes.values, "moves"_a = sizes.moves);
}

py::dict shrink(const py::function& trial, std::uint64_t seed, const std::string& record,
                const std::string& signature, std::uint64_t runs_max, const py::object& go_on) {
    const explore::Trial judge = trial_of(trial);
    auto parsed = or_raise(sim::parse_choice_record(record));
    const auto shrunk = explore::shrink(judge, seed, parsed.choices, signature,
                                        {.runs_max = runs_max, .go_on = asked(go_on)});
    py::dict told("reproduced"_a = shrunk.reproduced, "runs"_a = shrunk.runs,
                  "before"_a = to_python(shrunk.before), "after"_a = to_python(shrunk.after),
                  "record"_a = sim::to_text({{}, shrunk.log.choices}),
                  "text"_a = shrunk.verdict.text, "events"_a = shrunk.log.steps.size(),
                  "digest"_a = digest_text(shrunk.verdict.digest));
    if (!shrunk.reproduced) return told;
    const auto why = explore::explain(judge, shrunk, {.go_on = asked(go_on)});
    told["runs"] = shrunk.runs + why.runs;
    if (!why.found) return told;
    told["critical"] = py::dict(
        "text"_a = why.critical, "step"_a = why.step, "at_ns"_a = why.at.ns,
        "first_difference"_a = why.first_difference, "failing"_a = why.failing_steps,
        "passing"_a = why.passing_steps, "record"_a = sim::to_text({{}, why.passing}));
    return told;
}

void define_frontier(py::module_& module) {
    py::class_<explore::Frontier>(module, "Frontier",
                                  "What an exhaustive search has done and what is left.")
        .def(py::init([](std::uint32_t departures, std::uint32_t preemptions,
                         std::uint32_t depth) {
                 return explore::Frontier({departures, preemptions, depth});
             }),
             "departures"_a, "preemptions"_a, "depth"_a)
        .def_property_readonly("done", &explore::Frontier::done,
                               "Whether nothing is left within the bounds.")
        .def_property_readonly("told", &explore::Frontier::told,
                               "In words, what part of the space is done.")
        .def_property_readonly("runs", &explore::Frontier::runs, "Runs so far.")
        .def(
            "next",
            [](const explore::Frontier& frontier, std::size_t count) {
                std::vector<std::string> texts;
                for (const auto& portion : frontier.next(count))
                    texts.push_back(explore::to_text(portion));
                return texts;
            },
            "count"_a, "The next portions of work, at most so many, each a text.")
        .def("finished", finish_portions, "results"_a,
             "Takes the results of the portions that next() gave first, in its order.")
        .def("to_text", &explore::Frontier::to_text, "The text that parse_frontier() reads.");
    module.def(
        "parse_frontier",
        [](const std::string& text) { return or_raise(explore::Frontier::parse(text)); },
        "text"_a, "What Frontier.to_text() wrote. Raises ValueError.");
}

const Section section("explore", {"world"}, [](py::module_& module) {
    define_frontier(module);
    module.def(
        "check_strategies",
        [](const std::string& text) {
            std::vector<std::string> names;
            for (const auto& strategy : or_raise(explore::parse_strategies(text)))
                names.push_back(strategy.name());
            return names;
        },
        "text"_a, "The names of the strategies it stands for. Raises ValueError.");
    module.def(
        "measure",
        [](const py::function& trial, std::uint64_t seed) {
            const auto measured = explore::measure(trial_of(trial), seed);
            return py::make_tuple(measured.picks, measured.runnables);
        },
        "trial"_a, "seed"_a, "How many order choices a run has, and among how many events.");
    module.def(
        "pct_miss_bound",
        [](std::uint64_t runs, std::uint32_t depth, std::uint64_t picks, std::uint64_t runnables) {
            return explore::pct_miss_bound(runs, depth, {picks, runnables});
        },
        "runs"_a, "depth"_a, "picks"_a, "runnables"_a,
        "How likely so many PCT runs all miss a bug of this depth, at most.");
    module.def(
        "run_batch",
        [](const py::function& trial, std::uint64_t seed, const std::string& strategies,
           std::uint64_t picks, std::uint64_t runnables, std::uint64_t first, std::uint64_t count,
           const py::object& go_on) {
            return to_python(explore::run_batch(
                trial_of(trial), options_of(seed, strategies, picks, runnables, go_on), first,
                count));
        },
        "trial"_a, py::kw_only(), "seed"_a, "strategies"_a, "picks"_a, "runnables"_a, "first"_a,
        "count"_a, "go_on"_a = py::none(), "Runs first .. first + count of a search.");
    module.def("run_portion", run_portion, "trial"_a, py::kw_only(), "seed"_a, "preemptions"_a,
               "depth"_a, "portion"_a, "go_on"_a = py::none(),
               "Does a portion of an exhaustive search.");
    module.def("shrink", shrink, "trial"_a, py::kw_only(), "seed"_a, "record"_a, "signature"_a,
               "runs_max"_a = 4000, "go_on"_a = py::none(),
               "The same failure from a smaller run, and the choice that makes the difference.");
});

}  // namespace
}  // namespace bindings
