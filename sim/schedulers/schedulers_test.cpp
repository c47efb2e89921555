// SPDX-License-Identifier: Apache-2.0
// Holds:   first in first out keeps the order, random and PCT reach every order, PCT reaches a deep
//          one more often than its bound, replay follows a record and says when it cannot.
// Method:  few fibers with few turns; the orders they ran in are counted over many seeds.
#include <map>

#include "sim/schedule.hpp"
#include "sim/testing/catch.hpp"
#include "sim/world.hpp"

namespace sim {
namespace {

// Fibers a, b, c ... with so many turns each.
std::string order(std::unique_ptr<Schedule> schedule, int fibers, int turns,
                  std::vector<Choice>* record = nullptr) {
    World world({.schedule = std::move(schedule), .record_choices = true});
    std::string text;
    for (int i = 0; i < fibers; ++i)
        world.spawn(world.main_thread(), "worker", [&text, i, turns](Co& co) {
            for (int turn = 0; turn < turns; ++turn) {
                text += static_cast<char>('a' + i);
                co.yield("turn");
            }
        });
    world.run_until_idle();
    if (record != nullptr) *record = world.choices();
    return text;
}

TEST_CASE("schedulers: first in, first out") { CHECK(order(fifo_schedule(), 3, 2) == "abcabc"); }

TEST_CASE("schedulers: random reaches every order, and the same one for the same seed") {
    std::map<std::string, int> orders;
    for (std::uint64_t seed = 0; seed < 400; ++seed) ++orders[order(random_schedule(seed), 2, 3)];
    CHECK(orders.size() == 20);  // 6 over 3
    CHECK(order(random_schedule(3), 4, 4) == order(random_schedule(3), 4, 4));
}

TEST_CASE("schedulers: timers of one date and completions at one moment are in any order") {
    std::map<std::string, int> orders;
    for (std::uint64_t seed = 0; seed < 200; ++seed) {
        World world({.schedule = random_schedule(seed)});
        std::string text;
        Timer a(world, world.main_thread(), "a", [&] { text += 'a'; });
        Timer b(world, world.main_thread(), "b", [&] { text += 'b'; });
        a.arm(Instant{5});
        b.arm(Instant{5});
        world.spawn(world.main_thread(), "c", [&](Co& co) {
            co.sleep(nanoseconds(5));
            text += 'c';
        });
        world.run_until_idle();
        ++orders[text];
    }
    CHECK(orders.size() == 6);
}

TEST_CASE("schedulers: depth 1 of PCT runs fibers one after the other") {
    std::map<std::string, int> orders;
    for (std::uint64_t seed = 0; seed < 300; ++seed)
        ++orders[order(pct_schedule(seed, 1, 6), 3, 2)];
    CHECK(orders.size() == 6);  // the permutations of aabbcc
    for (const auto& [text, count] : orders) {
        CHECK(text[0] == text[1]);
        CHECK(count > 20);
    }
}

TEST_CASE("schedulers: PCT of depth 2 pre-empts at every place, more often than its bound") {
    constexpr int turns = 10, runs = 2000;
    std::map<std::string, int> orders;
    for (std::uint64_t seed = 0; seed < runs; ++seed)
        ++orders[order(pct_schedule(seed, 2, 2 * turns + 2), 2, turns)];
    for (int before = 1; before < turns; ++before) {
        const std::string wanted = std::string(before, 'a') + std::string(turns, 'b') +
                                   std::string(turns - before, 'a');
        INFO(wanted);
        CHECK(orders[wanted] > runs / (2 * (2 * turns + 2)) / 2);
    }
    CHECK(orders["abababababababababab"] == 0);
}

TEST_CASE("schedulers: few moves no more events than it may, anywhere") {
    std::map<std::string, int> orders;
    for (std::uint64_t seed = 0; seed < 400; ++seed)
        ++orders[order(few_schedule(seed, 1, 6), 3, 2)];
    CHECK(orders["abcabc"] > 0);    // the moment may fall where nothing is left to move
    CHECK(orders["bacabc"] == 0);   // a moved event keeps its place at the end of the line
    CHECK(orders["bacbac"] > 0);
    CHECK(orders["cabcab"] > 0);
    CHECK(orders["abccab"] > 0);
    CHECK(orders["cbacba"] == 0);   // two moves
    CHECK(orders.size() <= 1 + 3 * 2 * 2);
}

TEST_CASE("schedulers: replay follows, and goes on at random where the record does not fit") {
    std::vector<Choice> record;
    const std::string first = order(random_schedule(11), 3, 4, &record);
    std::string diverged;
    CHECK(order(replay_schedule(record, 0, &diverged), 3, 4) == first);
    CHECK(diverged.empty());

    std::vector<Choice> cut(record.begin(), record.begin() + 4);
    const std::string tail = order(replay_schedule(cut, 0, &diverged), 3, 4);
    CHECK_FALSE(diverged.empty());
    CHECK(tail.substr(0, 3) == first.substr(0, 3));

    diverged.clear();
    record[2].label = "something else";
    record[2].k = 1;
    record[2].n = 2;
    const std::string other = order(replay_schedule(record, 0, &diverged), 3, 4);
    CHECK_FALSE(diverged.empty());
    CHECK(other.substr(0, 2) == first.substr(0, 2));

    diverged.clear();
    record = {{"worker", 9, 8}};
    CHECK(order(replay_schedule(record, 0, &diverged), 3, 4).size() == 12);
    CHECK_FALSE(diverged.empty());
}

TEST_CASE("schedulers: a replay that lost its way does not come back to the record") {
    int met = 0;
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
        std::string diverged;
        World world({.schedule = replay_schedule({{"a", 1000, 777}, {"c", 2, 1}}, seed,
                                                 &diverged)});
        world.choose(1000, "b");
        met += world.choose(1000, "a") == 777 ? 1 : 0;
        CHECK(diverged ==
              "choice 1 of the record is value 'a' (777 of 1000); the run asked for value 'b' of "
              "1000");
    }
    CHECK(met < 3);
}

}  // namespace
}  // namespace sim
