// SPDX-License-Identifier: Apache-2.0
// Holds:   of orders that differ only in steps that commute the exhaustive search runs one, and
//          comes to every end that there is; also in pieces, also with values to choose, clocks,
//          queues, fibers that make fibers, runs that end early and runs that fail.
// Method:  random small programs, each enumerated wholly with the reduction and without; the sets
//          of all ends must be equal. The seed is printed.
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <set>

#include "sim/explore/exhaustive.hpp"
#include "sim/explore/swaps.hpp"
#include "sim/rng.hpp"
#include "sim/sync.hpp"
#include "sim/testing/catch.hpp"
#include "sim/world.hpp"

namespace sim::explore {
namespace {

constexpr std::uint64_t runs_max = 1500;

enum class Op : std::uint8_t {
    read, write, add, wait, wake_one, wake_all, spawn, post, sleep, choose, look_at_all, fail_at_3
};

struct Instruction {
    Op op;
    std::size_t subject;  // a variable, queue or program
    bool step_ends;
    bool by_name;  // tells what it touches instead of being there
};

struct Program {
    std::vector<std::vector<Instruction>> fibers;  // those from `roots` on are spawned by others
    std::size_t roots = 0;
    bool main_ends = false;  // the run ends with fiber 0

    static Program random(std::uint64_t seed) {
        RandomStream random(seed, "small program");
        Program program;
        program.roots = 2 + random.below(3);
        program.main_ends = random.chance(1, 3);
        const std::size_t all = program.roots + 1;
        for (std::size_t i = 0; i < all; ++i) {
            auto& code = program.fibers.emplace_back();
            const std::uint64_t length = 1 + random.below(i < program.roots ? 4 : 2);
            for (std::uint64_t n = 0; n < length; ++n) {
                auto op = static_cast<Op>(random.below(12));
                if (random.chance(1, 2)) op = static_cast<Op>(random.below(3));
                if (op == Op::spawn && (i >= program.roots || random.chance(1, 2))) op = Op::post;
                code.push_back(
                    {op, random.below(3), random.chance(2, 3), random.chance(1, 4)});
            }
        }
        return program;
    }
};

struct Run {
    explicit Run(const Program& code, World& in) : program(code), world(in) {}
    const Program& program;
    World& world;
    std::vector<std::uint64_t> variables{0, 0, 0}, locals;
    std::vector<std::unique_ptr<WaitQueue>> queues;
    std::size_t spawned = 0;

    static Place place(const char* kind, std::size_t number) {
        return Place::named(kind, std::to_string(number));
    }
    static std::uint64_t mix(std::uint64_t a, std::uint64_t b) { return a * 31 + b + 7; }

    void start(std::size_t fiber, std::uint64_t salt) {
        const std::size_t local = locals.size();
        locals.push_back(salt);
        // A fiber's own place: nobody else is ever there.
        world.spawn(world.main_thread(), "program", [this, fiber, local](Co& co) {
            run(co, fiber, local);
        }).in(Place::named("own", fmt::format("{} {}", fiber, salt)));
    }

    void run(Co& co, std::size_t fiber, std::size_t local) {
        for (const Instruction& instruction : program.fibers[fiber]) {
            one(co, instruction, local);
            if (instruction.step_ends) co.yield("step ends");
        }
    }

    void one(Co& co, const Instruction& what, std::size_t local) {
        std::uint64_t& mine = locals[local];
        std::uint64_t& variable = variables[what.subject];
        const Place at = place(what.op == Op::wait || what.op == Op::wake_one ||
                                       what.op == Op::wake_all
                                   ? "queue"
                                   : "variable",
                               what.subject);
        const auto touch = [&](Access access) { world.touch(at, access); };
        switch (what.op) {
        case Op::read: touch(Access::read), mine = mix(mine, variable); break;
        case Op::write:
            if (what.by_name) {
                const World::Within within(co, at);
                variable = mine;
            } else {
                touch(Access::write), variable = mine;
            }
            break;
        case Op::add: touch(Access::write), ++variable; break;
        case Op::wait: {
            const World::Within within(co, at);
            queues[what.subject]->wait(co);
            break;
        }
        case Op::wake_one: touch(Access::write), queues[what.subject]->wake_one(); break;
        case Op::wake_all: touch(Access::write), queues[what.subject]->wake_all(); break;
        case Op::spawn:
            world.touch(Place::named("spawned", ""));
            if (spawned++ < 2) start(program.roots, mine);
            break;
        case Op::post:
            world.post(world.main_thread(), "posted", [this, what, local] {
                locals[local] = mix(locals[local], variables[what.subject] + 3);
            });
            break;
        case Op::sleep: co.sleep(milliseconds(static_cast<std::int64_t>(what.subject))); break;
        case Op::choose: mine = mix(mine, world.choose(2, "choice")); break;
        case Op::look_at_all: {
            const World::Within within(co, Place());
            for (const std::uint64_t one : variables) mine = mix(mine, one);
            break;
        }
        case Op::fail_at_3:
            touch(Access::read);
            if (variable == 3) throw AssertionFailure("three");
        }
    }

    std::string end() const {
        std::string text;
        for (const std::uint64_t one : variables) text += fmt::format("{} ", one);
        // Of fibers, as a set: their numbers are in the order of their making.
        std::multiset<std::uint64_t> all(locals.begin(), locals.end());
        for (const std::uint64_t one : all) text += fmt::format("{} ", one);
        return text;
    }
};

Trial trial_of(const Program& program, std::set<std::string>& ends) {
    return [&program, &ends](Attempt attempt) {
        World world({.schedule = std::move(attempt.schedule)});
        Run run(program, world);
        for (const char* name : {"a", "b", "c"})
            run.queues.push_back(std::make_unique<WaitQueue>(Label::interned(name)));
        Verdict verdict;
        std::string how;
        const std::size_t first = program.main_ends ? 1 : 0;
        for (std::size_t i = first; i < program.roots; ++i) run.start(i, i);
        try {
            if (program.main_ends) {
                run.locals.push_back(0);
                world.run([&](Co& co) { run.run(co, 0, run.locals.size() - 1); });
            } else {
                world.run_until_idle();
            }
        } catch (const AssertionFailure&) {
            how = "failed";
        } catch (const Deadlock&) {
            how = "stuck";
        }
        // What had not run yet when it failed is nobody's business.
        verdict.failed = !how.empty();
        verdict.signature = how;
        ends.insert(how == "failed" ? how : run.end() + how);
        return verdict;
    };
}

// Gives the number of runs; runs_max: not all.
std::uint64_t enumerate(const Trial& trial, const ExhaustiveLimits& limits, std::size_t portions,
                        BatchResult& found) {
    Frontier frontier(limits);
    SearchOptions options;
    while (!frontier.done() && frontier.runs() < runs_max) {
        std::vector<PortionResult> results;
        for (const Portion& portion : frontier.next(portions))
            results.push_back(run_portion(trial, options, limits, portion));
        frontier.finished(results);
        for (PortionResult& result : results) merge(found, std::move(result.found));
    }
    return std::min(frontier.runs(), runs_max);
}

std::set<std::string> signatures(const BatchResult& found) {
    std::set<std::string> all;
    for (const Finding& finding : found.findings) all.insert(finding.verdict.signature);
    return all;
}

TEST_CASE("reduction: every end of a random program is found, by fewer runs") {
    std::uint64_t programs = 0, all_runs = 0, reduced_runs = 0;
    for (std::uint64_t seed = 1; seed <= 60; ++seed) {
        INFO("seed " << seed);
        const Program program = Program::random(seed);
        std::set<std::string> ends, reduced_ends;
        BatchResult found, reduced_found;
        const std::uint64_t runs =
            enumerate(trial_of(program, ends), {.reduce = Reduce::no}, 4, found);
        if (runs == runs_max) continue;
        const std::uint64_t reduced =
            enumerate(trial_of(program, reduced_ends), {}, 1 + seed % 5, reduced_found);
        ++programs, all_runs += runs, reduced_runs += reduced;
        REQUIRE(ends == reduced_ends);
        REQUIRE(signatures(found) == signatures(reduced_found));
        CHECK(reduced <= runs);
    }
    INFO(programs << " programs, " << all_runs << " runs, reduced " << reduced_runs);
    CHECK(programs > 30);
    CHECK(reduced_runs * 2 < all_runs);
}

// Two fibers append to a text, and say that they touch it, or something else.
Trial appending(const char* first, const char* second) {
    return [first, second](Attempt attempt) {
        World world({.schedule = std::move(attempt.schedule)});
        std::string text;
        for (const char* name : {first, second})
            world.spawn(world.main_thread(), "writer", [&text, name](Co& co) {
                for (int turn = 0; turn < 3; ++turn) {
                    co.world().touch(name, Access::write);
                    text += *name;
                    co.yield("turn");
                }
            });
        world.run_until_idle();
        Verdict verdict;
        verdict.end = text;
        return verdict;
    };
}

TEST_CASE("reduction: a step that does not say what it touches is caught by a swap") {
    const Swaps lying = check_swaps(appending("a", "b"), 1, 4);
    CHECK(lying.made == 1);
    CHECK(lying.difference.find("'writer' do not commute: the end") != std::string::npos);
    CHECK(check_swaps(appending("text", "text"), 1, 4).made == 0);
}

}  // namespace
}  // namespace sim::explore
