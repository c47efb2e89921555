// SPDX-License-Identifier: Apache-2.0
// Holds:   of two overlapping requests, one of them serialising, never both go on; all end.
// Method:  random requests in fibers under random schedules; who goes on is watched.
#include "blocklayer/requests/tracked.hpp"

#include "sim/testing/catch.hpp"
#include "sim/world.hpp"

namespace blocklayer {
namespace {

struct Going {
    std::uint64_t begin, end;
    bool serialising;
};

TEST_CASE("tracked: overlapping requests wait for serialising ones", "[tracked]") {
    int waits = 0, ended = 0, begun = 0;
    for (std::uint64_t seed = 1; seed <= 60; ++seed) {
        INFO("seed " << seed);
        sim::World world({.seed = seed, .schedule = sim::random_schedule(seed)});
        TrackedRequests all;
        std::vector<const Going*> going;
        const auto clashes = [&](const Going& one) {
            return std::any_of(going.begin(), going.end(), [&](const Going* other) {
                return other != &one && (one.serialising || other->serialising) &&
                       one.begin < other->end && other->begin < one.end;
            });
        };
        sim::RandomStream random(seed, "tracked test");
        for (int i = 0; i < 12; ++i) {
            const std::uint64_t offset = random.below(64), length = 1 + random.below(16);
            const std::uint64_t align = std::uint64_t{1} << random.below(4);
            const bool serialising = random.chance(1, 2);
            ++begun;
            world.spawn(world.main_thread(), "request",
                        [&, offset, length, align, serialising](sim::Co& co) {
                            co.sleep({.ns = static_cast<std::int64_t>(offset % 7)});
                            TrackedRequest request(all, offset, length, true);
                            if (serialising) {
                                if (!request.make_serialising(co, align, /*wait=*/false)) {
                                    ++waits;
                                    REQUIRE(request.make_serialising(co, align, /*wait=*/true));
                                }
                            } else {
                                request.wait_for_serialising(co);
                            }
                            const std::uint64_t unit = serialising ? align : 1;
                            const Going self{offset - offset % unit,
                                             (offset + length + unit - 1) / unit * unit,
                                             serialising};
                            going.push_back(&self);
                            CHECK(!clashes(self));
                            co.sleep({.ns = 3});
                            CHECK(!clashes(self));
                            std::erase(going, &self);
                            ++ended;
                        });
        }
        world.run_until_idle();
        CHECK(all.empty());
        CHECK(!all.any_serialising());
    }
    CHECK(ended == begun);
    CHECK(waits > 50);
}

}  // namespace
}  // namespace blocklayer
