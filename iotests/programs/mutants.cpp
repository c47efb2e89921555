// SPDX-License-Identifier: Apache-2.0
// blockstep-mutants: switches one known bug on and hunts for it with ordinary workloads.
//
//     blockstep-mutants list                               names of all mutants, one a line
//     blockstep-mutants hunt MUTANT STRATEGY SEED RUNS     one JSON object; MUTANT "" is none
//     blockstep-mutants examine MUTANT STRATEGY SEED RUNS  hunts, then shrinks and explains
//     blockstep-mutants run MUTANT WORKLOAD STRATEGY SEED  one run; prints what went wrong
//
// Exit status: 0; 2 when the words are wrong or the build has no mutants.
#include <fmt/format.h>

#include <charconv>
#include <cstdio>
#include <string_view>

#include "hwmodels/campaign/examine.hpp"
#include "hwmodels/campaign/hunt.hpp"
#include "sim/mutant.hpp"

namespace {

using namespace hwmodels::campaign;

int usage() {
    std::fputs(
        "usage: blockstep-mutants list | hunt MUTANT STRATEGY SEED RUNS |\n"
        "       examine MUTANT STRATEGY SEED RUNS |\n"
        "       run MUTANT WORKLOAD STRATEGY SEED\n",
        stderr);
    return 2;
}

bool parse(std::string_view text, std::uint64_t& number) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    return error == std::errc() && end == text.data() + text.size();
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

int run_one(std::string_view mutant, std::string_view name, std::string_view strategy_name,
            std::string_view seed_text) {
    const Workload* workload = find_workload(name);
    const auto strategy = strategy_named(strategy_name);
    std::uint64_t seed = 0;
    if (workload == nullptr || !strategy || !parse(seed_text, seed)) return usage();
    if (!switch_on(mutant)) return 2;
    const Verdict verdict = run_once(*workload, seed, schedule_for(*strategy, seed));
    fmt::print("{}\n", verdict.right() ? "all was right" : verdict.failure);
    return 0;
}

int hunt_for(std::string_view mutant, std::string_view strategy_name, std::string_view seed_text,
             std::string_view runs_text) {
    const auto strategy = strategy_named(strategy_name);
    std::uint64_t seed = 0, runs = 0;
    if (!strategy || !parse(seed_text, seed) || !parse(runs_text, runs)) return usage();
    if (!switch_on(mutant)) return 2;
    const Finding found = hunt(*strategy, seed, runs);
    fmt::print(
        "{{\"id\": \"{}\", \"killed\": {}, \"schedules\": {}, "
        "\"workload\": \"{}\", \"seed\": {}, \"failure\": \"{}\"}}\n",
        escaped(mutant), !found.workload.empty(), found.schedules, escaped(found.workload),
        found.seed, escaped(std::string_view(found.failure).substr(0, found.failure.find('\n'))));
    return 0;
}

int examine_one(std::string_view mutant, std::string_view strategy_name,
                std::string_view seed_text, std::string_view runs_text) {
    const auto strategy = strategy_named(strategy_name);
    std::uint64_t seed = 0, runs = 0;
    if (!strategy || !parse(seed_text, seed) || !parse(runs_text, runs)) return usage();
    if (!switch_on(mutant)) return 2;
    const Finding found = hunt(*strategy, seed, runs);
    if (found.workload.empty()) {
        fmt::print("{{\"id\": \"{}\", \"killed\": false, \"schedules\": {}}}\n", escaped(mutant),
                   found.schedules);
        return 0;
    }
    const Examined told = examine(*find_workload(found.workload), *strategy, found.seed);
    const auto sizes = [](const sim::explore::Sizes& s) {
        return fmt::format(
            "{{\"operations\": {}, \"faults\": {}, \"values\": {}, \"moves\": {}}}", s.operations,
            s.faults, s.values, s.moves);
    };
    fmt::print(
        "{{\"id\": \"{}\", \"killed\": true, \"schedules\": {}, \"workload\": \"{}\", "
        "\"seed\": {}, \"reproduced\": {}, \"repeats\": {}, \"repeats_wanted\": {}, "
        "\"before\": {}, \"after\": {}, \"runs\": {}, \"critical\": \"{}\", \"step\": {}, "
        "\"failure\": \"{}\"}}\n",
        escaped(mutant), found.schedules, escaped(found.workload), found.seed, told.reproduced,
        told.repeats, repeats_wanted, sizes(told.before), sizes(told.after), told.runs,
        escaped(told.critical), told.step,
        escaped(std::string_view(told.failure).substr(0, told.failure.find('\n'))));
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    const std::string_view command = argc > 1 ? argv[1] : "";
    if (command == "list" && argc == 2) {
        for (const std::string& name : sim::all_mutants()) std::puts(name.c_str());
        return 0;
    }
    if (command == "hunt" && argc == 6) return hunt_for(argv[2], argv[3], argv[4], argv[5]);
    if (command == "examine" && argc == 6)
        return examine_one(argv[2], argv[3], argv[4], argv[5]);
    if (command == "run" && argc == 6) return run_one(argv[2], argv[3], argv[4], argv[5]);
    return usage();
}
