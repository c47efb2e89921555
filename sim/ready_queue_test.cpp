// SPDX-License-Identifier: Apache-2.0
// Holds: a ready queue keeps the order of arrival whatever is taken out of it, few or many.
// Method: random pushes and takes beside a plain vector; the seed is printed.
#include "sim/ready_queue.hpp"

#include <vector>

#include "sim/fiber.hpp"
#include "sim/rng.hpp"
#include "sim/testing/catch.hpp"

namespace sim {
namespace {

struct Nothing final : Runnable {
    Nothing() : Runnable(Kind::handler) {}
    void run() override {}
};

void expect_same(const ReadyQueue& queue, const std::vector<Runnable*>& expected) {
    REQUIRE(queue.size() == expected.size());
    REQUIRE(queue.empty() == expected.empty());
    for (std::size_t k = 0; k < expected.size(); ++k) REQUIRE(&queue.at(k) == expected[k]);
}

TEST_CASE("ready queue: as a list from which any can be taken", "[ready]") {
    const std::uint64_t seed = GENERATE(range(0, 8));
    INFO("seed " << seed);
    RandomStream random(seed, "ready queue");
    const std::uint64_t most = seed % 2 == 0 ? 16 : 60;  // more than there are slots
    std::vector<Nothing> all(most);
    ReadyQueue queue;
    std::vector<Runnable*> expected;
    std::vector<Runnable*> idle;
    for (Nothing& one : all) idle.push_back(&one);
    for (int i = 0; i < 2000; ++i) {
        const bool grows = random.below(most) >= expected.size();
        if (grows && !idle.empty()) {
            Runnable* one = idle.back();
            idle.pop_back();
            queue.push(*one);
            expected.push_back(one);
        } else if (!expected.empty()) {
            const std::size_t k = random.below(expected.size());
            Runnable* one = expected[k];
            if (random.chance(1, 4))
                queue.forget(*one);
            else
                REQUIRE(&queue.take(k) == one);
            expected.erase(expected.begin() + static_cast<std::ptrdiff_t>(k));
            idle.push_back(one);
        }
        expect_same(queue, expected);
    }
}

TEST_CASE("ready queue: who is not in it can be forgotten; none is left when it is cleared",
          "[ready]") {
    std::vector<Nothing> all(20);
    ReadyQueue queue;
    for (std::size_t i = 0; i + 1 < all.size(); ++i) queue.push(all[i]);
    queue.forget(all.back());
    CHECK(queue.size() == 19);
    queue.clear();
    CHECK(queue.empty());
    queue.push(all[3]);
    expect_same(queue, {&all[3]});
}

TEST_CASE("ready queue: what is not there cannot be taken", "[ready]") {
    ReadyQueue queue;
    Nothing one;
    queue.push(one);
    CHECK_THROWS_AS(queue.take(1), AssertionFailure);
    CHECK_THROWS_AS(queue.at(1), AssertionFailure);
}

}  // namespace
}  // namespace sim
