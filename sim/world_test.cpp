// SPDX-License-Identifier: Apache-2.0
// Holds:   events run in the order (instant, sequence), waits end when they should, and a world
//          that is stuck says who waits for whom.
// Method:  small worlds, each with one thing to show.
#include "sim/world.hpp"

#include <set>
#include <string>
#include <vector>

#include "sim/sync.hpp"
#include "sim/testing/catch.hpp"

namespace sim {
namespace {

TEST_CASE("world: fibers and timers run by date, then by sequence", "[world]") {
    World world;
    std::string order;
    for (const char name : {'a', 'b'})
        world.spawn(world.main_thread(), "worker", [&order, name](Co& co) {
            order += name;
            co.sleep(microseconds(name == 'a' ? 20 : 10));
            order += static_cast<char>(name - 'a' + 'A');
        });
    world.run_until_idle();
    CHECK(order == "abBA");
    CHECK(world.now().ns == 20'000);
}

TEST_CASE("world: a recorded trace tells every turn, and its digest is the same", "[world]") {
    // Holds:  steps name who ran, when and after how many events; recording digests nothing.
    // Method: one world recorded and not, its turns compared with what the fibers say.
    const auto run = [](bool record, std::vector<TraceStep>* steps) {
        World world({.record_trace = record});
        Thread& iothread = world.add_thread("iothread", ThreadKind::iothread);
        world.spawn(iothread, "worker", [](Co& co) {
            co.world().emit("first");
            co.sleep(nanoseconds(7));
            co.world().emit("second");
        });
        world.run_until_idle();
        if (steps != nullptr) *steps = world.trace().steps();
        return world.trace().digest();
    };
    std::vector<TraceStep> steps, none;
    CHECK(run(true, &steps) == run(false, &none));
    CHECK(none.empty());
    REQUIRE(steps.size() >= 2);
    CHECK(std::string_view(steps.front().label.name()) == "worker");
    CHECK(steps.front().position == 0);
    CHECK(steps.back().at.ns == 7);
    CHECK(steps.back().position == 1);
    CHECK(steps.back().thread == 1);
    CHECK(steps.back().runnable == steps.front().runnable);
}

TEST_CASE("world: run gives the body's result and a stuck body is a named deadlock", "[world]") {
    World world;
    CHECK(world.run([](Co& co) {
        co.sleep(seconds(1));
        return 42;
    }) == 42);

    Mutex mutex("the lock");
    Event never("never set");
    try {
        world.run([&](Co& co) {
            const MutexLock lock(co, mutex);
            world.spawn(world.main_thread(), "second", [&](Co& inner) { mutex.lock(inner); });
            never.wait(co);
        });
        FAIL("no deadlock was reported");
    } catch (const Deadlock& deadlock) {
        const std::string text = deadlock.what();
        CHECK(text.find("'second' on thread 'main' waits for 'the lock', held by fiber") !=
              text.npos);
        CHECK(text.find("waits for 'never set'") != text.npos);
    }
}

TEST_CASE("world: closing unwinds parked fibers through their destructors", "[world]") {
    struct Counter {
        explicit Counter(int& n) : n_(n) { ++n_; }
        ~Counter() { --n_; }
        int& n_;
    };
    int alive = 0;
    {
        World world;
        Event never("never set");
        for (int i = 0; i < 3; ++i)
            world.spawn(world.main_thread(), "waiter", [&](Co& co) {
                const Counter counter(alive);
                never.wait(co);
            });
        world.run_until_idle();
        CHECK(alive == 3);
    }
    CHECK(alive == 0);
}

TEST_CASE("world: an exception thrown and caught inside a fiber stays there", "[world]") {
    World world;
    CHECK(world.run([](Co& co) {
        try {
            throw std::runtime_error("inner");
        } catch (const std::runtime_error&) {
        }
        co.yield("after the catch");
        return std::uncaught_exceptions();
    }) == 0);
}

TEST_CASE("world: suspending in an atomic section fails with its reason", "[world]") {
    World world;
    CHECK_THROWS_AS(world.run([](Co& co) {
        const auto atomic = co.atomic("graph update");
        co.yield("not allowed");
    }),
                    AssertionFailure);
}

TEST_CASE("world: same seed, same digest; a recorded run replays", "[world]") {
    const auto run = [](std::unique_ptr<Schedule> schedule, std::vector<Choice>* record) {
        World world({.schedule = std::move(schedule), .record_choices = true});
        std::string order;
        for (char name = 'a'; name < 'h'; ++name)
            world.spawn(world.main_thread(), "worker", [&order, name](Co& co) {
                for (int i = 0; i < 4; ++i) order += name, co.yield("turn");
            });
        world.run_until_idle();
        if (record != nullptr) *record = world.choices();
        return std::pair(order, world.trace().digest());
    };
    std::vector<Choice> record;
    const auto first = run(random_schedule(7), &record);
    CHECK(first == run(random_schedule(7), nullptr));
    CHECK(first != run(random_schedule(8), nullptr));
    CHECK(first == run(replay_schedule(record, 99), nullptr));
}

TEST_CASE("world: yielding so many times is yielding so often", "[world]") {
    const auto run = [](bool at_once, std::uint64_t seed) {
        World world({.schedule = random_schedule(seed)});
        std::string order;
        for (char name = 'a'; name < 'e'; ++name)
            world.spawn(world.main_thread(), "worker", [&order, name, at_once](Co& co) {
                const std::uint64_t times = name - 'a';
                if (at_once) co.yield("turn", times);
                for (std::uint64_t i = 0; !at_once && i < times; ++i) co.yield("turn");
                order += name;
            });
        world.run_until_idle();
        return std::tuple(order, world.events_run(), world.trace().digest());
    };
    for (std::uint64_t seed = 0; seed < 50; ++seed) {
        INFO("seed " << seed);
        CHECK(run(true, seed) == run(false, seed));
    }
}

TEST_CASE("world: a world that closes does not wait for turns", "[world]") {
    bool left = false;
    {
        World world;
        world.spawn(world.main_thread(), "worker", [&](Co& co) {
            const std::shared_ptr<void> leave(nullptr, [&](void*) { left = true; });
            co.yield("turn", UINT64_MAX);
        });
        for (int i = 0; i < 10; ++i) world.step();
    }
    CHECK(left);
}

TEST_CASE("world: a moment is some number of turns, up to the bound") {
    std::set<int> moments;
    for (std::uint64_t seed = 0; seed < 200; ++seed) {
        World world({.schedule = random_schedule(seed)});
        int seen = -1;
        world.spawn(world.main_thread(), "command", [&](Co& co) {
            const std::uint64_t before = co.world().events_run();
            co.moment("when", 10);
            seen = static_cast<int>(co.world().events_run() - before);
        });
        world.run_until_idle();
        moments.insert(seen);
    }
    CHECK(moments == std::set<int>{0, 1, 2, 3, 5, 8});
    World plain;
    plain.run([](Co& co) {
        co.moment("when", 10);
        CHECK(co.world().events_run() == 1);
    });
}

}  // namespace
}  // namespace sim
