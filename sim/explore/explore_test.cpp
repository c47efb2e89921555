// SPDX-License-Identifier: Apache-2.0
// Holds:   every strategy finds what it promises, a search cut into pieces finds the same, the
//          exhaustive one counts orders exactly and says what is done, shrinking keeps the failure
//          and ends with its cause, and the cause is named.
// Method:  small worlds with a known number of orders, or with one bug that needs known moves and
//          faults.
#include <map>
#include <set>

#include "sim/explore/exhaustive.hpp"
#include "sim/explore/explain.hpp"
#include "sim/explore/search.hpp"
#include "sim/explore/shrink.hpp"
#include "sim/rng.hpp"
#include "sim/testing/catch.hpp"
#include "sim/world.hpp"

namespace sim::explore {
namespace {

// Two fibers add to a number without a lock, among others that do nothing of interest.
Verdict lost_update(Attempt attempt) {
    World world({.seed = attempt.seed, .schedule = std::move(attempt.schedule)});
    int number = 0;
    for (int i = 0; i < 2; ++i)
        world.spawn(world.main_thread(), "adder", [&](Co& co) {
            const int seen = number;
            number = seen + 1;  // FIFO: both read and write in one turn each
            if (co.world().choose(4, "slow adder") == 3) {
                number = seen;
                co.yield("slow");
                number = seen + 1;
            }
        });
    for (int i = 0; i < 5; ++i)
        world.spawn(world.main_thread(), "bystander", [](Co& co) {
            for (int turn = 0; turn < 6; ++turn) co.yield("turn");
        });
    world.run_until_idle();
    return {number != 2, number != 2 ? "lost update" : "", "", world.trace().digest(),
            world.events_run()};
}

SearchOptions options_for(const Trial& trial, std::string_view strategies) {
    SearchOptions options;
    options.seed = 1;
    options.strategies = *parse_strategies(strategies);
    options.measured = measure(trial, 1);
    return options;
}

TEST_CASE("explore: strategies are read by name") {
    for (const char* name : {"fifo", "random", "few:2", "pct:3", "swarm+random", "swarm+pct:7"})
        CHECK((*parse_strategies(name))[0].name() == name);
    CHECK((*parse_strategies("swarm"))[0].name() == "swarm+random");
    CHECK(parse_strategies("portfolio")->size() == 9);
    CHECK(parse_strategies("few:1,random")->size() == 2);
    for (const char* wrong : {"", "best", "few:0", "pct:-1", "pct:x", "random:3", "few:1,"})
        CHECK_FALSE(parse_strategies(wrong));
}

TEST_CASE("explore: a search in pieces finds the same as a search in one") {
    const SearchOptions options = options_for(lost_update, "portfolio");
    CHECK(options.measured.picks > 30);
    CHECK(options.measured.runnables == 7);
    const BatchResult whole = run_batch(lost_update, options, 0, 300);
    REQUIRE(whole.findings.size() == 1);
    CHECK(whole.findings[0].repeats);
    CHECK(whole.runs_by_strategy.size() == 10);
    CHECK(whole.runs_by_strategy.at("fifo") == 1);
    CHECK(whole.runs_by_strategy.at("pct:3") == 33);
    BatchResult pieces;
    for (std::uint64_t first = 0; first < 300; first += 70)
        merge(pieces, run_batch(lost_update, options, first,
                                std::min<std::uint64_t>(70, 300 - first)));
    CHECK(pieces.runs == 300);
    CHECK(pieces.failures == whole.failures);
    CHECK(pieces.findings[0].run == whole.findings[0].run);
    CHECK(pieces.findings[0].count == whole.findings[0].count);
    CHECK(pieces.findings[0].verdict.digest == whole.findings[0].verdict.digest);
    CHECK(pieces.runs_by_strategy == whole.runs_by_strategy);
}

TEST_CASE("explore: a failure replays from its choices, a thousand times of a thousand") {
    const SearchOptions options = options_for(lost_update, "random");
    const BatchResult found = run_batch(lost_update, options, 0, 100);
    REQUIRE(found.findings.size() == 1);
    const Finding& finding = found.findings[0];
    int same = 0;
    for (int i = 0; i < 1000; ++i) {
        std::string diverged;
        const Verdict again = replay(lost_update, finding.seed, finding.choices, &diverged);
        same += again.failed && again.digest == finding.verdict.digest && diverged.empty() ? 1 : 0;
    }
    CHECK(same == 1000);
}

// Orders of `fibers` fibers with `turns` turns each, in words.
struct Orders {
    int fibers, turns;
    int touching = 0;  // so many of them have a variable for each pair, and say so
    std::set<std::string> seen;
    std::uint64_t runs = 0;

    Trial trial() {
        return [this](Attempt attempt) {
            World world({.schedule = std::move(attempt.schedule)});
            std::string order;
            for (int i = 0; i < fibers; ++i)
                world.spawn(world.main_thread(), "worker", [&, i](Co& co) {
                    for (int turn = 0; turn < turns; ++turn) {
                        order += static_cast<char>('a' + i);
                        if (i < touching) co.world().touch(std::to_string(i / 2), Access::write);
                        if (turn + 1 < turns) co.yield("turn");
                    }
                });
            world.run_until_idle();
            seen.insert(order);
            ++runs;
            return Verdict{.failed = order == "ccbbaa", .signature = "backwards", .text = {}};
        };
    }
};

Frontier search_all(const Trial& trial, const ExhaustiveLimits& limits, std::size_t portions,
                    BatchResult& found) {
    Frontier frontier(limits);
    SearchOptions options;
    while (!frontier.done()) {
        std::vector<PortionResult> results;
        for (const Portion& portion : frontier.next(portions)) {
            results.push_back(
                run_portion(trial, options, limits, *parse_portion(to_text(portion))));
            results.back().growth = *parse_growth(to_text(results.back().growth));
        }
        frontier.finished(results);
        for (PortionResult& result : results) merge(found, std::move(result.found));
        // As after a night's sleep.
        frontier = *Frontier::parse(frontier.to_text());
    }
    return frontier;
}

TEST_CASE("explore: the exhaustive search runs every order once") {
    for (const std::size_t portions : {1, 5}) {
        Orders orders{3, 2};
        BatchResult found;
        const Frontier frontier = search_all(orders.trial(), {}, portions, found);
        CHECK(orders.seen.size() == 90);  // 6! / (2! 2! 2!)
        CHECK(frontier.runs() == 90);
        CHECK(frontier.told() == "the whole space is done: 90 runs");
        REQUIRE(found.findings.size() == 1);
        CHECK(found.findings[0].repeats);
    }
}

TEST_CASE("explore: the exhaustive search does all operations, and its findings repeat") {
    const Trial trial = [](Attempt attempt) {
        World world({.schedule = std::move(attempt.schedule)});
        std::string order;
        for (const char* name : {"a", "b", "c"})
            if (world.keep(Label::interned(name)))
                world.spawn(world.main_thread(), "fiber", [&order, name](Co&) { order += name; });
        world.run_until_idle();
        return Verdict{.failed = order == "bac", .signature = "b first", .text = {}};
    };
    BatchResult found;
    CHECK(search_all(trial, {}, 3, found).runs() == 6);
    REQUIRE(found.findings.size() == 1);
    CHECK(found.findings[0].repeats);
    CHECK(found.findings[0].choices.size() == 5);
}

TEST_CASE("explore: bounds of the exhaustive search are kept and told") {
    Orders orders{4, 2};
    BatchResult found;
    const Frontier frontier = search_all(orders.trial(), {.departures = 2}, 3, found);
    CHECK(frontier.told().starts_with("all runs with at most 2 departures are done: "));
    CHECK(orders.seen.size() == frontier.runs());
    CHECK(frontier.runs() < 2520);
    Orders fewer{4, 2};
    BatchResult none;
    CHECK(search_all(fewer.trial(), {.preemptions = 0}, 3, none).runs() == 1);

    Frontier halfway({.departures = 2});
    SearchOptions options;
    for (int i = 0; i < 30; ++i)
        halfway.finished({run_portion(orders.trial(), options, {}, halfway.next(1)[0])});
    CHECK(halfway.told().starts_with(
        "all known runs with at most 1 departures are done; of those with 2 some "));
}

TEST_CASE("explore: steps that commute are not run in both orders") {
    // Two pairs of fibers with a variable each: 6 orders of each pair's turns are all there is.
    Orders orders{4, 2, 4};
    BatchResult found;
    const Frontier frontier = search_all(orders.trial(), {}, 4, found);
    std::set<std::string> different;  // by what each pair saw
    for (const std::string& order : orders.seen) {
        std::string left, right;
        for (const char c : order) (c < 'c' ? left : right) += c;
        different.insert(left + right);
    }
    CHECK(different.size() == 36);
    CHECK(frontier.runs() < 500);  // of 2520
    CHECK(frontier.commuting() > 0);
}

TEST_CASE("explore: a step that says nothing of what it touches commutes with none") {
    Orders orders{3, 2, 1};
    BatchResult found;
    search_all(orders.trial(), {}, 4, found);
    CHECK(orders.seen.size() == 90);
}

TEST_CASE("explore: a damaged frontier is refused") {
    Orders orders{3, 2};
    Frontier frontier;
    SearchOptions options;
    for (int i = 0; i < 2; ++i)
        frontier.finished({run_portion(orders.trial(), options, {}, frontier.next(1)[0])});
    const std::string good = frontier.to_text();
    CHECK(Frontier::parse(good)->to_text() == good);
    CHECK_FALSE(Frontier::parse(""));
    CHECK_FALSE(Frontier::parse(good.substr(0, good.size() / 2)));
    RandomStream random(1, "frontier damage");
    for (int i = 0; i < 300; ++i) {
        std::string text = good;
        text[random.below(text.size())] = static_cast<char>(random.below(128));
        if (const auto parsed = Frontier::parse(text)) CHECK(!parsed->to_text().empty());
    }
}

// Fails if the write fails once and the reader looks between the writer's two turns; operations
// beside the point are many.
Verdict needle(Attempt attempt) {
    World world({.seed = attempt.seed, .schedule = std::move(attempt.schedule)});
    bool torn = false, broken = false;
    world.spawn(world.main_thread(), "writer", [&](Co& co) {
        const bool fails = co.world().fault(2, "disk: write fails") == 1;
        if (co.world().keep("operation 7")) torn = fails;
        co.yield("half way");
        torn = false;
    });
    for (int i = 0; i < 10; ++i) {
        const Label name = Label::interned(fmt::format("operation {}", i));
        if (i != 7 && world.keep(name))
            world.spawn(world.main_thread(), name, [](Co& co) {
                for (int turn = 0; turn < 4; ++turn) {
                    static_cast<void>(co.world().fault(3, "noise"));
                    co.yield("turn");
                }
            });
    }
    world.spawn(world.main_thread(), "delay", [&](Co& co) {
        for (int turn = 0; turn < 3; ++turn) co.yield("waiting");
        co.world().spawn(co.thread(), "reader", [&](Co&) { broken = broken || torn; });
    });
    world.run_until_idle();
    return {broken, broken ? "reader saw a torn write" : "", "", world.trace().digest(),
            world.events_run()};
}

TEST_CASE("explore: a failure shrinks to its cause, and the cause is named") {
    SearchOptions options = options_for(needle, "random,pct:3");
    options.first_only = true;
    const BatchResult found = run_batch(needle, options, 0, 20'000);
    REQUIRE(found.findings.size() == 1);
    const Finding& finding = found.findings[0];
    const Shrunk shrunk =
        shrink(needle, finding.seed, finding.choices, finding.verdict.signature);
    REQUIRE(shrunk.reproduced);
    CHECK(shrunk.before.operations == 10);
    CHECK(shrunk.before.faults >= 1);
    CHECK(shrunk.before.moves > 5);
    CHECK(shrunk.after.operations == 1);
    CHECK(shrunk.after.faults == 1);
    CHECK(shrunk.after.moves <= 1);
    const Verdict again = replay(needle, shrunk.seed, shrunk.log.choices);
    CHECK(again.digest == shrunk.verdict.digest);

    const Explanation told = explain(needle, shrunk);
    REQUIRE(told.found);
    INFO(told.critical);
    CHECK((told.critical.find("writer") != std::string::npos ||
           told.critical.find("disk: write fails") != std::string::npos));
    CHECK(told.step > 0);
    CHECK_FALSE(replay(needle, shrunk.seed, told.passing).failed);
    CHECK_FALSE(told.failing_steps.empty());
    CHECK(told.failing_steps != told.passing_steps);
}

TEST_CASE("explore: of two ways to the same failure the shorter is looked for") {
    // Fails when five run backwards, which takes four moves, or when the sixth runs first.
    const Trial trial = [](Attempt attempt) {
        World world({.schedule = std::move(attempt.schedule)});
        std::string order;
        for (const char c : {'a', 'b', 'c', 'd', 'e', 'f'})
            world.spawn(world.main_thread(), "fiber", [&order, c](Co&) { order += c; });
        world.run_until_idle();
        const bool wrong = order == "edcbaf" || order[0] == 'f';
        return Verdict{wrong, wrong ? "wrong" : "", "", 0, 6};
    };
    RunLog log;
    REQUIRE(trial({1, recorder(forced_schedule({4, 3, 2, 1, 0}), log)}).failed);
    CHECK(plan_of(log).moves.size() == 4);
    const Shrunk shrunk = shrink(trial, 1, log.choices, "wrong");
    CHECK(shrunk.reproduced);
    CHECK(shrunk.after.moves == 1);
}

TEST_CASE("explore: a failure that needs nothing special is explained by what avoids it") {
    const Trial trial = [](Attempt attempt) {
        World world({.schedule = std::move(attempt.schedule)});
        std::string order;
        for (const char c : {'a', 'b', 'c'})
            world.spawn(world.main_thread(), c == 'a' ? Label("first") : Label("other"),
                        [&order, c](Co&) { order += c; });
        world.run_until_idle();
        return Verdict{order[0] == 'a', order[0] == 'a' ? "in line" : "", "", 0, 3};
    };
    SearchOptions options = options_for(trial, "random");
    const BatchResult found = run_batch(trial, options, 0, 1);
    REQUIRE(found.findings.size() == 1);
    const Shrunk shrunk = shrink(trial, 1, found.findings[0].choices, "in line");
    REQUIRE(shrunk.reproduced);
    const Explanation told = explain(trial, shrunk);
    REQUIRE(told.found);
    CHECK(told.critical == "'first' runs before the others that are ready");
    CHECK(told.step == 1);
    CHECK_FALSE(replay(trial, 1, told.passing).failed);
}

TEST_CASE("explore: a failure that no answer avoids is explained by who should have waited") {
    // Fails unless the writer runs when all five turns of the reader are over.
    const Trial trial = [](Attempt attempt) {
        World world({.schedule = std::move(attempt.schedule)});
        bool reading = true, wrong = false;
        world.spawn(world.main_thread(), "reader", [&](Co& co) {
            for (int turn = 0; turn < 5; ++turn) co.yield("reading");
            reading = false;
        });
        world.spawn(world.main_thread(), "writer", [&](Co& co) {
            co.yield("about to write");
            wrong = reading;
        });
        world.run_until_idle();
        return Verdict{wrong, wrong ? "written too early" : "", "", 0, 8};
    };
    RunLog log;
    REQUIRE(trial({1, recorder(forced_schedule({}), log)}).failed);
    const Shrunk shrunk = shrink(trial, 1, log.choices, "written too early");
    const Explanation told = explain(trial, shrunk);
    REQUIRE(told.found);
    CHECK(told.critical ==
          "'writer' turn 2 runs while others are ready; held back until they are done, it does no "
          "harm");
    CHECK_FALSE(replay(trial, 1, told.passing).failed);
}

TEST_CASE("explore: the plan of a run is the run") {
    int same = 0;
    for (std::uint64_t seed = 0; seed < 60; ++seed) {
        RunLog log, again;
        const Verdict first = needle({seed, recorder(random_schedule(seed), log)});
        const Plan plan = plan_of(log);
        const Verdict second = needle({seed, recorder(plan_schedule(plan), again)});
        same += first.digest == second.digest ? 1 : 0;
        CHECK(plan_of(again).moves.size() == plan.moves.size());
    }
    CHECK(same == 60);
}

TEST_CASE("explore: a log names turns of fibers, posted handlers have one") {
    RunLog log;
    World world({.schedule = recorder(random_schedule(1), log)});
    for (int i = 0; i < 3; ++i) {
        world.post(world.main_thread(), "posted", [] {});
        world.spawn(world.main_thread(), "fiber", [](Co& co) { co.yield("on"); });
        world.run_until_idle();
    }
    std::map<std::string, std::uint32_t> turns;
    for (const Step& step : log.steps) turns[step.label.name()] += step.turn;
    CHECK(turns["posted"] == 0);
    CHECK(turns["fiber"] == 3);
}

TEST_CASE("explore: a run that ends while overtaken events wait has its plan, too") {
    const Trial trial = [](Attempt attempt) {
        World world({.schedule = std::move(attempt.schedule)});
        std::string first;
        world.spawn(world.main_thread(), "early", [&](Co&) { first += 'e'; });
        world.spawn(world.main_thread(), "late", [&](Co&) { first += 'l'; });
        world.run_until([&] { return !first.empty(); });
        return Verdict{first == "l", first == "l" ? "overtaken" : "", "", 0, 1};
    };
    RunLog log;
    REQUIRE(trial({1, recorder(forced_schedule({1}), log)}).failed);
    CHECK(plan_of(log).moves.size() == 1);
    const Shrunk shrunk = shrink(trial, 1, log.choices, "overtaken");
    REQUIRE(shrunk.reproduced);
    const Explanation told = explain(trial, shrunk);
    CHECK(told.found);
    CHECK(told.critical == "'late' runs before 'early', which was ready first");
}

TEST_CASE("explore: a failure in every order is explained by the operation that makes it") {
    const Trial trial = [](Attempt attempt) {
        World world({.schedule = std::move(attempt.schedule)});
        bool wrong = false;
        for (const char* operation : {"harmless", "harmful"})
            if (world.keep(Label::interned(operation)))
                world.spawn(world.main_thread(), "fiber", [&wrong, operation](Co&) {
                    wrong = wrong || std::string_view(operation) == "harmful";
                });
        world.run_until_idle();
        return Verdict{wrong, wrong ? "wrong" : "", "", 0, 2};
    };
    RunLog log;
    REQUIRE(trial({1, recorder(random_schedule(1), log)}).failed);
    const Shrunk shrunk = shrink(trial, 1, log.choices, "wrong");
    CHECK(shrunk.after.operations == 1);
    CHECK(explain(trial, shrunk).critical == "the operation 'harmful' (no. 1) is done");
}

TEST_CASE("explore: a failure in every order is explained by the feature that makes it") {
    const Trial trial = [](Attempt attempt) {
        World world({.schedule = std::move(attempt.schedule)});
        const bool wrong = world.feature("harmful");
        for (int i = 0; i < 40; ++i) world.spawn(world.main_thread(), "fiber", [](Co&) {});
        world.run_until_idle();
        return Verdict{wrong, wrong ? "wrong" : "", "", 0, 40};
    };
    RunLog log;
    REQUIRE(trial({1, recorder(random_schedule(1), log)}).failed);
    const Shrunk shrunk = shrink(trial, 1, log.choices, "wrong");
    CHECK(explain(trial, shrunk).critical == "the feature 'harmful' (no. 1) is there");
}

TEST_CASE("explore: PCT's bound is what the theorem says") {
    CHECK(pct_miss_bound(1, 1, {10, 4}) == Approx(0.75));
    CHECK(pct_miss_bound(2, 2, {10, 4}) == Approx(0.975 * 0.975));
    CHECK(pct_miss_bound(100'000, 2, {10, 4}) < 1e-9);
}

TEST_CASE("explore: swarms leave out features and fault sites, the others have all of them") {
    const auto has = [](std::unique_ptr<Schedule> schedule) {
        World world({.schedule = std::move(schedule)});
        std::string text;
        for (const char* name : {"a", "b", "c"})
            text += world.feature(Label::interned(name)) ? name : "-";
        return text;
    };
    CHECK(has(fifo_schedule()) == "abc");
    CHECK(has(random_schedule(1)) == "abc");
    std::set<std::string> configurations;
    for (std::uint64_t seed = 0; seed < 100; ++seed)
        configurations.insert(has(swarm_schedule(seed, fifo_schedule())));
    CHECK(configurations.size() == 8);
}

}  // namespace
}  // namespace sim::explore
