// SPDX-License-Identifier: Apache-2.0
// blockstep-mutants: switches one known bug on and hunts for it with ordinary workloads.
//
//     blockstep-mutants list                                 names of all mutants, one a line
//     blockstep-mutants workloads                            names of all workloads
//     blockstep-mutants hunt MUTANT STRATEGIES SEED RUNS [WORKLOAD]
//                                        one JSON object; MUTANT "" is none
//     blockstep-mutants examine MUTANT STRATEGIES SEED RUNS [WORKLOAD]
//                                        hunts, then shrinks and explains
//     blockstep-mutants run MUTANT STRATEGIES SEED RUN WORKLOAD
//                                        that run of such a hunt; prints what went wrong
//     blockstep-mutants search MUTANT DEPARTURES SEED RUNS WORKLOAD
//                                        every run with so many departures, of a workload or small
//                                        world; prints what part of them was done and what went
//                                        wrong. Works in all builds when MUTANT is "".
//                                        search-all: the same without partial-order reduction
//
// Exit status: 0; 2 when the words are wrong or the build has no mutants.
#include <fmt/format.h>

#include <cstdio>
#include <string_view>

#include "hwmodels/campaign/examine.hpp"
#include "hwmodels/campaign/small_worlds.hpp"
#include "iotests/programs/words.hpp"
#include "sim/explore/exhaustive.hpp"
#include "sim/mutant.hpp"

namespace {

using namespace hwmodels::campaign;

int usage() {
    std::fputs(
        "usage: blockstep-mutants list | workloads |\n"
        "       hunt MUTANT STRATEGIES SEED RUNS [WORKLOAD] |\n"
        "       examine MUTANT STRATEGIES SEED RUNS [WORKLOAD] |\n"
        "       run MUTANT STRATEGIES SEED RUN WORKLOAD |\n"
        "       search | search-all MUTANT DEPARTURES SEED RUNS WORKLOAD\n",
        stderr);
    return 2;
}

// Of a JSON string: what a program of ours says in a failure, which may quote file names.
std::string escaped(std::string_view text) {
    std::string out;
    for (const char c : text) {
        if (c == '"' || c == '\\')
            out += fmt::format("\\{}", c);
        else if (static_cast<unsigned char>(c) < 0x20)
            out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
        else
            out += c;
    }
    return out;
}

bool switch_on(std::string_view mutant) {
    if (sim::set_mutant(mutant)) return true;
    std::fprintf(stderr, "blockstep-mutants: no such mutant in this build: %.*s\n",
                 int(mutant.size()), mutant.data());
    return false;
}

constexpr int others_max = 8;

struct Words {
    std::string_view mutant, strategies, seed, runs, workload;
};

// False: the words are wrong, and why was said.
bool understand(const Words& words, HuntOptions& options) {
    auto parsed = sim::explore::parse_strategies(words.strategies);
    if (!parsed) {
        std::fprintf(stderr, "blockstep-mutants: %s\n", parsed.error().c_str());
        return false;
    }
    options.strategies = *std::move(parsed);
    if (!words.workload.empty()) options.only = find_workload(words.workload);
    const bool right = parse(words.seed, options.seed) &&
                       parse(words.runs, options.schedules_max) &&
                       (words.workload.empty() || options.only != nullptr);
    if (!right) usage();
    return right && switch_on(words.mutant);
}

int run_one(const Words& words) {
    HuntOptions options;
    if (!understand(words, options)) return 2;
    const std::uint64_t run = options.schedules_max;
    const Verdict verdict =
        run_once(*options.only, options.seed + run, schedule_of_run(options, *options.only, run));
    fmt::print("{}\n", verdict.right() ? "all was right" : verdict.failure);
    return 0;
}

std::string first_line(std::string_view text) { return escaped(text.substr(0, text.find('\n'))); }

// What a hunt found, as members of a JSON object.
std::string told(std::string_view mutant, const Hunted& hunted) {
    const std::string begun =
        fmt::format("\"id\": \"{}\", \"killed\": {}, \"schedules\": {}", escaped(mutant),
                    hunted.workload != nullptr, hunted.schedules);
    if (hunted.workload == nullptr) return begun;
    const sim::explore::Finding& finding = hunted.finding;
    return fmt::format(
        "{}, \"workload\": \"{}\", \"strategy\": \"{}\", \"run\": {}, \"seed\": {}, "
        "\"failure\": \"{}\"",
        begun, escaped(hunted.workload->name), finding.strategy, finding.run, finding.seed,
        first_line(finding.verdict.text));
}

std::string told(const sim::explore::Sizes& s) {
    return fmt::format("{{\"operations\": {}, \"faults\": {}, \"values\": {}, \"moves\": {}}}",
                       s.operations, s.faults, s.values, s.moves);
}

std::string told(const Examined& examined) {
    return fmt::format(
        "\"reproduced\": {}, \"repeats\": {}, \"repeats_wanted\": {}, \"before\": {}, "
        "\"after\": {}, \"runs\": {}, \"critical\": \"{}\", \"step\": {}",
        examined.reproduced, examined.repeats, repeats_wanted, told(examined.before),
        told(examined.after), examined.runs, escaped(examined.critical), examined.step);
}

int hunt_for(const Words& words, bool and_examine) {
    HuntOptions options;
    if (!understand(words, options)) return 2;
    Hunted hunted = hunt(options);
    if (hunted.workload == nullptr || !and_examine) {
        fmt::print("{{{}}}\n", told(words.mutant, hunted));
        return 0;
    }
    // A workload that fails whatever it does explains nothing: then another one may.
    Examined examined = examine(hunted);
    for (int others = 0; others < others_max && examined.critical.empty(); ++others) {
        options.without.push_back(hunted.workload);
        const Hunted next = hunt(options);
        if (next.workload == nullptr) break;
        const std::uint64_t schedules = hunted.schedules + next.schedules;
        hunted = next;
        hunted.schedules = schedules;
        examined = examine(hunted);
    }
    fmt::print("{{{}, {}}}\n", told(words.mutant, hunted), told(examined));
    return 0;
}

int search(const Words& words, sim::explore::Reduce reduce) {
    const Workload* workload = find_workload(words.workload);
    if (workload == nullptr) workload = find_small_world(words.workload);
    std::uint64_t departures = 0, seed = 0, runs_max = 0;
    const bool right = parse(words.strategies, departures) && departures < UINT32_MAX &&
                       parse(words.seed, seed) && parse(words.runs, runs_max) &&
                       workload != nullptr;
    if (!right) return usage();
    if (!switch_on(words.mutant)) return 2;
    const sim::explore::Trial trial = trial_of(*workload);
    const sim::explore::ExhaustiveLimits limits{
        .departures = static_cast<std::uint32_t>(departures), .reduce = reduce};
    const sim::explore::SearchOptions options{.seed = seed};
    sim::explore::Frontier frontier(limits);
    sim::explore::BatchResult found;
    while (!frontier.done() && frontier.runs() < runs_max) {
        auto result = run_portion(trial, options, limits, frontier.next(1)[0]);
        frontier.finished({result});
        merge(found, std::move(result.found));
    }
    fmt::print("{}\n", frontier.told());
    for (const sim::explore::Finding& finding : found.findings)
        fmt::print("{} of {} runs: {}\n", finding.count, found.runs, finding.verdict.signature);
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    const std::string_view command = argc > 1 ? argv[1] : "";
    if (command == "list" && argc == 2) {
        for (const std::string& name : sim::all_mutants()) std::puts(name.c_str());
        return 0;
    }
    if (command == "workloads" && argc == 2) {
        for (const Workload* workload : all_workloads()) std::puts(workload->name.c_str());
        return 0;
    }
    if (argc != 6 && argc != 7) return usage();
    const Words words{argv[2], argv[3], argv[4], argv[5], argc == 7 ? argv[6] : ""};
    if (command == "hunt" || command == "examine") return hunt_for(words, command == "examine");
    if (command == "run" && argc == 7) return run_one(words);
    if (command == "search" && argc == 7) return search(words, sim::explore::Reduce::yes);
    if (command == "search-all" && argc == 7) return search(words, sim::explore::Reduce::no);
    return usage();
}
