// SPDX-License-Identifier: Apache-2.0
// Holds:   a world that cannot end says why (who waits for whom and in what cycle, or that there is
//          no end), is unwound at once, and can be looked at but not run.
// Method:  worlds made to fail in each way.
#include <optional>

#include "sim/sync.hpp"
#include "sim/testing/catch.hpp"
#include "sim/world.hpp"

namespace sim {
namespace {

template <class Failure, class Body>
std::string failure_of(World& world, Body&& body) {
    try {
        world.run(body);
    } catch (const Failure& failure) {
        return failure.what();
    }
    return "did not fail";
}

bool has(const std::string& text, std::string_view part) { return text.find(part) != text.npos; }

TEST_CASE("failure: a cycle of mutexes is named, once") {
    World world;
    Mutex left("left"), right("right");
    const std::string text = failure_of<Deadlock>(world, [&](Co& co) {
        const FiberRef other = world.spawn(world.main_thread(), "other", [&](Co& inner) {
            const MutexLock lock(inner, right);
            inner.yield("holding right");
            const MutexLock second(inner, left);
        });
        const MutexLock lock(co, left);
        co.yield("holding left");
        const MutexLock second(co, right);
        other.join(co);
    });
    CHECK(has(text, "fiber 1 'run' on thread 'main' waits for 'right', held by fiber 2 'other'"));
    CHECK(has(text, "\ncycle: run#1 -> other#2 -> run#1\n"));
    CHECK(text.find("cycle:") == text.rfind("cycle:"));
    CHECK_FALSE(left.held());  // unwound already
}

TEST_CASE("failure: joins are part of a cycle, services are not stuck") {
    World world;
    Mutex mutex("the lock");
    Event never("never set");
    world.spawn_service(world.main_thread(), "service", [&](Co& co) { never.wait(co); });
    const std::string text = failure_of<Deadlock>(world, [&](Co& co) {
        const MutexLock lock(co, mutex);
        world.spawn(world.main_thread(), "child", [&](Co& inner) { mutex.lock(inner); }).join(co);
    });
    CHECK(has(text, "\ncycle: run#2 -> child#3 -> run#2\n"));
    CHECK_FALSE(has(text, "service"));
}

TEST_CASE("failure: waiting for nobody in particular is no cycle") {
    World world;
    Event never("never set");
    const std::string text = failure_of<Deadlock>(world, [&](Co& co) { never.wait(co); });
    CHECK(has(text, "waits for 'never set'\n"));
    CHECK_FALSE(has(text, "cycle"));
}

TEST_CASE("failure: a run of too many events ends with the last of them") {
    World world({.event_limit = 100});
    const std::string text = failure_of<EventLimit>(world, [](Co& co) {
        while (true) {
            co.yield("for ever");
            co.world().emit("still turning");
        }
    });
    CHECK(has(text, "more than 100 events"));
    CHECK(has(text, "still turning"));
    CHECK(world.events_run() == 100);
}

TEST_CASE("failure: a broken assertion comes with the last events and closes the world") {
    World world;
    int unwound = 0;
    struct Count {
        int& n;
        ~Count() { ++n; }
    };
    Event never("never set");
    const std::string text = failure_of<AssertionFailure>(world, [&](Co& co) {
        world.spawn(world.main_thread(), "bystander", [&](Co& inner) {
            const Count count{unwound};
            never.wait(inner);
        });
        co.yield("let it start");
        world.emit("about to fail");
        INVARIANT(1 + 1 == 3);
    });
    CHECK(has(text, "sim/failure_test.cpp"));
    CHECK(has(text, "invariant: 1 + 1 == 3"));
    CHECK(has(text, "about to fail"));
    CHECK(unwound == 1);
    CHECK(world.fibers_alive() == 0);
    CHECK_THROWS_AS(world.run([](Co&) {}), AssertionFailure);
}

TEST_CASE("failure: nothing happens after what failed, in a fiber or in a handler") {
    const bool in_handler = GENERATE(false, true);
    World world;
    bool later = false;
    const auto fail = [] { throw AssertionFailure("broken"); };
    const std::string text = failure_of<AssertionFailure>(world, [&](Co& co) {
        if (in_handler)
            world.post(world.main_thread(), "fails", fail);
        else
            world.spawn(world.main_thread(), "fails", [&](Co&) { fail(); });
        world.spawn(world.main_thread(), "later", [&](Co&) { later = true; });
        co.yield("others are ready");
    });
    CHECK(has(text, "broken"));
    CHECK_FALSE(later);
    CHECK(world.events_run() == 2);
}

TEST_CASE("failure: other exceptions come out and the world goes on") {
    World world;
    CHECK_THROWS_AS(world.run([](Co&) { throw std::out_of_range("mine"); }), std::out_of_range);
    CHECK(world.run([](Co&) { return 7; }) == 7);
}

TEST_CASE("failure: a destructor that spawns, posts or wakes while the world closes does no harm") {
    struct Busy {
        World& world;
        Event& event;
        ~Busy() {
            event.set();
            world.post(world.main_thread(), "late handler", [] {});
            const FiberRef none = world.spawn(world.main_thread(), "late", [](Co&) {});
            if (none.get() != nullptr) std::terminate();
        }
    };
    std::optional<World> world(std::in_place);
    Event event("never set");
    for (int i = 0; i < 2; ++i)
        world->spawn(world->main_thread(), "waiter", [&](Co& co) {
            const Busy busy{co.world(), event};
            event.wait(co);
        });
    world->run_until_idle();
    CHECK(world->fibers_alive() == 2);
    world.reset();
    CHECK(event.is_set());
}

TEST_CASE("failure: a world inside a fiber of another leaves the outer one whole") {
    World outer;
    const int result = outer.run([](Co& co) {
        int sum = 0;
        for (int i = 1; i <= 3; ++i) {
            World inner;
            sum += inner.run([&](Co& inside) {
                inside.sleep(seconds(1));
                return i;
            });
            co.yield("between worlds");
        }
        return sum;
    });
    CHECK(result == 6);
    CHECK(outer.now().ns == 0);
}

TEST_CASE("failure: joiners are woken in the order they came") {
    World world;
    std::string order;
    world.run([&](Co& co) {
        Event go("go");
        const FiberRef target =
            world.spawn(world.main_thread(), "target", [&](Co& inner) { go.wait(inner); });
        for (const char name : {'a', 'b', 'c'})
            world.spawn(world.main_thread(), "joiner", [&order, target, name](Co& inner) {
                target.join(inner);
                order += name;
            });
        co.yield("let them join");
        go.set();
        co.sleep(nanoseconds(1));
    });
    CHECK(order == "abc");
}

}  // namespace
}  // namespace sim
