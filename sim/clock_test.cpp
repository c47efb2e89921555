// SPDX-License-Identifier: Apache-2.0
// Holds:   the manual clock moves only when told, the paced one never runs ahead of the wall, and
//          outside input is injected at the date the wall has reached.
// Method:  worlds on a wall clock that the test moves.
#include <vector>

#include "sim/sync.hpp"
#include "sim/testing/catch.hpp"
#include "sim/world.hpp"

namespace sim {
namespace {

// Moves only while somebody sleeps; `early` makes each sleep end after half of its time.
struct FakeWall final : WallClock {
    std::int64_t now_ns() const override { return now; }
    void sleep(Duration duration) override {
        slept.push_back(duration.ns);
        now += early && duration.ns > 1 ? duration.ns / 2 : duration.ns;
    }
    std::int64_t now = 1'000'000;
    bool early = false;
    std::vector<std::int64_t> slept;
};

// The dates at which a fiber woke that sleeps so often.
void note_wakes(World& world, std::vector<std::int64_t>& dates, int times, Duration each) {
    world.spawn(world.main_thread(), "sleeper", [&dates, times, each](Co& co) {
        for (int i = 0; i < times; ++i) {
            co.sleep(each);
            dates.push_back(co.world().now().ns);
        }
    });
}

using Dates = std::vector<std::int64_t>;

TEST_CASE("clock: manual moves only when told, to the nanosecond") {
    World world({.clock = ClockMode::manual});
    Dates dates;
    note_wakes(world, dates, 3, nanoseconds(10));
    world.run_until_idle();
    CHECK(world.now().ns == 0);
    CHECK(dates.empty());
    world.advance(nanoseconds(9));
    CHECK(dates.empty());
    CHECK(world.now().ns == 9);
    world.advance(nanoseconds(11));
    CHECK(dates == Dates{10, 20});
    CHECK(world.now().ns == 20);
    world.advance(nanoseconds(100));
    CHECK(dates == Dates{10, 20, 30});
    CHECK(world.now().ns == 120);
}

TEST_CASE("clock: what is due now runs without moving the clock, at the end of an advance too") {
    World world({.clock = ClockMode::manual});
    Dates dates;
    note_wakes(world, dates, 3, nanoseconds(0));
    world.run_until_idle();
    CHECK(dates == Dates{0, 0, 0});
    dates.clear();
    world.spawn(world.main_thread(), "outer", [&](Co& co) {
        co.sleep(nanoseconds(5));
        note_wakes(co.world(), dates, 2, nanoseconds(0));
    });
    world.advance(nanoseconds(5));
    CHECK(dates == Dates{5, 5});
}

TEST_CASE("clock: paced sleeps on the wall by its factor, also when sleeps end early") {
    for (const bool early : {false, true}) {
        FakeWall wall;
        wall.early = early;
        World world({.clock = ClockMode::paced, .pace = 4.0, .wall_clock = &wall});
        Dates dates;
        note_wakes(world, dates, 2, microseconds(100));
        world.run_until_idle();
        CHECK(dates == Dates{100'000, 200'000});
        CHECK(wall.now == 1'000'000 + 50'000);
        CHECK(early == (wall.slept.size() > 2));
    }
}

TEST_CASE("clock: paced makes up for what is late without sleeping") {
    FakeWall wall;
    World world({.clock = ClockMode::paced, .wall_clock = &wall});
    Dates dates;
    note_wakes(world, dates, 3, nanoseconds(100));
    wall.now += 250;
    world.run_until_idle();
    CHECK(dates == Dates{100, 200, 300});
    CHECK(wall.slept == Dates{50});
}

TEST_CASE("clock: input that comes early is at the wall's date, a hook may end the run") {
    FakeWall wall;
    World world({.clock = ClockMode::paced, .wall_clock = &wall});
    Dates dates, injected, waits;
    note_wakes(world, dates, 1, nanoseconds(1000));
    int calls = 0;
    world.set_idle_hook([&](Duration wait) {
        waits.push_back(wait.ns);
        if (++calls == 1) {
            wall.now += 300;
            world.post(world.main_thread(), "input", [&] { injected.push_back(world.now().ns); });
            return true;
        }
        if (wait.ns == INT64_MAX) return false;
        wall.now += wait.ns;
        return true;
    });
    world.run_until_idle();
    CHECK(injected == Dates{300});
    CHECK(dates == Dates{1000});
    CHECK(waits == Dates{1000, 700, INT64_MAX});
}

TEST_CASE("clock: a paced world looks at its host operations as the wall goes on") {
    struct Host final : Platform {
        bool busy() const override { return !over; }
        Instant advance(Instant now, Instant limit) override {
            if (limit.ns < end) return limit;
            over = true;
            done.set();
            return std::max(now, Instant{end});
        }
        std::int64_t end = 2'500'000;
        bool over = false;
        Event done{"host operation"};
    };
    FakeWall wall;
    auto platform = std::make_unique<Host>();
    Event& done = platform->done;
    World world({.platform = std::move(platform), .clock = ClockMode::paced, .wall_clock = &wall});
    world.run([&](Co& co) { done.wait(co); });
    CHECK(world.now().ns == 2'500'000);
    CHECK(wall.slept.size() == 3);  // a millisecond at a time
}

}  // namespace
}  // namespace sim
