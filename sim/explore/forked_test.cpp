// SPDX-License-Identifier: Apache-2.0
// Holds:   a trial in processes of its own gives what it gives in this one: findings, choices,
//          digests, measures, what is shrunk and what is done; a run whose process dies is a
//          finding that names the event, and the search goes on.
// Method:  one small world with a bug, searched both ways; another one that kills its process.
#include "sim/explore/forked.hpp"

#include <signal.h>
#include <unistd.h>

#include "sim/choice_record.hpp"
#include "sim/explore/exhaustive.hpp"
#include "sim/explore/shrink.hpp"
#include "sim/testing/catch.hpp"
#include "sim/world.hpp"

namespace sim::explore {
namespace {

std::string as_text(const std::vector<Choice>& choices) {
    return sim::to_text(ChoiceRecord{{}, choices});
}

// Wrong if the adders overlap, or the fault strikes while the feature is in use.
Verdict adders(Attempt attempt) {
    World world({.seed = attempt.seed, .schedule = std::move(attempt.schedule)});
    int number = 0;
    for (int i = 0; i < 2; ++i)
        world.spawn(world.main_thread(), Label::interned("adder of this run"), [&](Co& co) {
            co.yield("begin");
            if (!co.world().keep("adds")) return void(++number);
            const int seen = number;
            co.world().touch("number", Access::read);
            if (co.world().choose(3, "slow") == 2) co.yield("slow");
            number = seen + 1;
        });
    if (world.fault(2, "glitch") == 1 && world.feature("glitches matter")) ++number;
    world.run_until_idle();
    return {number != 2, number != 2 ? "wrong" : "", "", world.trace().digest(),
            world.events_run()};
}

void check_same(const BatchResult& one, const BatchResult& other) {
    CHECK(one.runs == other.runs);
    CHECK(one.failures == other.failures);
    CHECK(one.events == other.events);
    REQUIRE(one.findings.size() == other.findings.size());
    for (std::size_t i = 0; i < one.findings.size(); ++i) {
        const Finding &left = one.findings[i], &right = other.findings[i];
        CHECK(left.run == right.run);
        CHECK(left.repeats);
        CHECK(right.repeats);
        CHECK(left.verdict.digest == right.verdict.digest);
        CHECK(as_text(left.choices) == as_text(right.choices));
    }
}

TEST_CASE("forked: a search finds and shrinks the same", "[forked]") {
    const Trial apart = forked(adders);
    const Measured here = measure(adders, 1), there = measure(apart, 1);
    CHECK(here.picks == there.picks);
    CHECK(here.runnables == there.runnables);
    const SearchOptions options{
        .seed = 1, .strategies = *parse_strategies("portfolio"), .measured = here};
    const BatchResult found = run_batch(adders, options, 0, 40);
    check_same(found, run_batch(apart, options, 0, 40));
    REQUIRE(found.findings.size() == 1);

    const Finding& finding = found.findings[0];
    const Shrunk small = shrink(adders, finding.seed, finding.choices, "wrong");
    const Shrunk same = shrink(apart, finding.seed, finding.choices, "wrong");
    REQUIRE(small.reproduced);
    CHECK(small.runs == same.runs);
    CHECK(small.log.steps.size() == same.log.steps.size());
    CHECK(as_text(small.log.choices) == as_text(same.log.choices));
}

TEST_CASE("forked: an exhaustive search does the same", "[forked]") {
    const SearchOptions options{.seed = 1};
    const Frontier frontier({.departures = 1});
    for (const Trial& trial : {Trial(adders), forked(adders)}) {
        const PortionResult result = run_portion(trial, options, {}, frontier.next(1)[0]);
        static const std::string growth = to_text(result.growth);
        CHECK(to_text(result.growth) == growth);
        CHECK(result.found.runs == 1);
    }
}

TEST_CASE("forked: what a replay lost its way at is told here", "[forked]") {
    std::string diverged;
    replay(forked(adders), 1, {{"no such choice", 7, 6, ChoiceKind::value}}, &diverged);
    CHECK(diverged.find("choice 1 of the record is value 'no such choice'") == 0);
}

TEST_CASE("forked: a process that dies is a finding, and others go on", "[forked]") {
    const auto ends = [](int how) {
        return [how](Attempt attempt) {
            World world({.seed = attempt.seed, .schedule = std::move(attempt.schedule)});
            world.spawn(world.main_thread(), "does harm", [&](Co& co) {
                co.yield("a moment");
                if (co.world().choose(2, "harm") == 0) return;
                if (how == 0) _exit(3);
                ::signal(how, SIG_DFL);
                ::raise(how);
            });
            world.run_until_idle();
            return Verdict{.digest = world.trace().digest(), .events = world.events_run()};
        };
    };
    struct {
        int how;
        const char *signature, *text;
    } const cases[] = {
        {SIGKILL, "the process died: SIGKILL", "died of signal 9 (Killed)"},
        {SIGSEGV, "the process died: SIGSEGV", "died of signal 11 (Segmentation fault)"},
        {0, "the process ended in the middle of the run", "ended with status 3 before"},
    };
    for (const auto& [how, signature, text] : cases) {
        const Trial trial = forked(ends(how), {.last_words = [] { return "those are known"; }});
        const BatchResult found =
            run_batch(trial, {.seed = 1, .strategies = *parse_strategies("random")}, 0, 12);
        CHECK(found.runs == 12);
        CHECK(found.failures > 0);
        CHECK(found.failures < 12);
        REQUIRE(found.findings.size() == 1);
        const Finding& finding = found.findings[0];
        CHECK(finding.repeats);
        CHECK(finding.verdict.signature == signature);
        CHECK(finding.verdict.text.find(text) != std::string::npos);
        CHECK(finding.verdict.text.find("It was in event 2, 'does harm'.\nthose are known") !=
              std::string::npos);
        CHECK(replay(trial, finding.seed, finding.choices).signature == signature);
    }
}

TEST_CASE("forked: an exception that leaves the trial ends its run", "[forked]") {
    const Trial trial = forked([](Attempt) -> Verdict { throw std::runtime_error("too bad"); });
    const Verdict verdict = trial({1, fifo_schedule()});
    CHECK(verdict.failed);
    CHECK(verdict.text.find("before the run did: too bad") != std::string::npos);
}

}  // namespace
}  // namespace sim::explore
