// SPDX-License-Identifier: Apache-2.0
// Holds:   tables come back as they were changed, however few fit in; a cache that depends on
//          another or on data lets that reach stable storage first; what could not be written
//          stays dirty.
// Method:  a bare cache over an image file in memory, whose writes and flushes are counted; random
//          use against a model.
#include "blocklayer/drivers/formats/qcow2/cache.hpp"

#include <map>

#include "blocklayer/drivers/formats/qcow2/testing/memory_image.hpp"
#include "sim/testing/catch.hpp"

namespace blocklayer::qcow2::testing {
namespace {

constexpr std::uint64_t table = 512;
constexpr std::uint64_t room = 1 << 20;  // past everything the image uses

struct Caches {
    Caches() : l2(image.bare().l2_cache), refcounts(image.bare().refcount_cache) {
        image.bare().settings.overlap_check = 0;
        l2.configure(table, 2);
        refcounts.configure(table, 2);
    }
    // As the caches want it: with the mutex held.
    template <class Body>
    void locked(Body&& body) {
        image.run([&](sim::Co& co) {
            const sim::MutexLock lock(co, image.bare().mutex);
            body(co);
        });
    }
    void set(sim::Co& co, MetadataCache& cache, std::uint64_t index, int value) {
        const auto got = cache.get(co, room + index * table);
        REQUIRE(got);
        (*got)->bytes()[0] = static_cast<std::byte>(value);
        cache.mark_dirty(**got);
    }
    int stored(std::uint64_t index) {
        return static_cast<int>(image.number(room + index * table, 1));
    }
    std::uint64_t writes() { return image.medium().operations(sim::HostOp::write); }
    std::uint64_t flushes() { return image.medium().operations(sim::HostOp::flush); }

    MemoryImage image;
    MetadataCache& l2;
    MetadataCache& refcounts;
};

TEST_CASE("qcow2 cache: few slots, nothing lost", "[qcow2]") {
    const std::uint64_t seed = GENERATE(1U, 2U, 3U);
    Caches caches;
    sim::RandomStream random(seed, "cache");
    std::map<std::uint64_t, int> model;
    caches.l2.configure(table, 1 + random.below(4));
    caches.locked([&](sim::Co& co) {
        for (int i = 0; i < 400; ++i) {
            const std::uint64_t index = random.below(10);
            if (random.chance(1, 2)) {
                model[index] = static_cast<int>(random.below(256));
                caches.set(co, caches.l2, index, model[index]);
            } else if (random.chance(1, 20)) {
                REQUIRE(caches.l2.write_back(co));
                REQUIRE_FALSE(caches.l2.any_dirty());
            } else {
                const auto got = caches.l2.get(co, room + index * table);
                REQUIRE(got);
                REQUIRE(static_cast<int>((*got)->bytes()[0]) == model[index]);
            }
        }
        REQUIRE(caches.l2.write_back(co));
    });
    for (const auto& [index, value] : model) CHECK(caches.stored(index) == value);
}

TEST_CASE("qcow2 cache: the other one first", "[qcow2]") {
    Caches caches;
    caches.locked([&](sim::Co& co) {
        caches.set(co, caches.refcounts, 0, 1);
        REQUIRE(caches.l2.depend_on(co, caches.refcounts));
        caches.set(co, caches.l2, 1, 2);
        const std::uint64_t flushes = caches.flushes();
        caches.image.medium().add_fault({sim::HostOp::write, 1, 1});  // the second write fails
        REQUIRE_FALSE(caches.l2.write_back(co));
        CHECK(caches.stored(0) == 1);  // refcounts were first ...
        CHECK(caches.flushes() == flushes + 1);
        CHECK(caches.stored(1) == 0);
        CHECK(caches.l2.any_dirty());
        caches.image.medium().clear_faults();
        REQUIRE(caches.l2.write_back(co));  // ... and need not be again
        CHECK(caches.stored(1) == 2);
        CHECK(caches.flushes() == flushes + 1);
    });
}

TEST_CASE("qcow2 cache: an eviction keeps the order as well", "[qcow2]") {
    Caches caches;
    caches.locked([&](sim::Co& co) {
        caches.set(co, caches.refcounts, 0, 1);
        REQUIRE(caches.l2.depend_on(co, caches.refcounts));
        for (std::uint64_t i = 1; i <= 3; ++i) caches.set(co, caches.l2, i, 2);
        CHECK(caches.stored(0) == 1);
        CHECK(caches.stored(1) == 2);
        CHECK(caches.stored(3) == 0);
    });
}

TEST_CASE("qcow2 cache: dependencies both ways are no circle", "[qcow2]") {
    Caches caches;
    caches.locked([&](sim::Co& co) {
        caches.set(co, caches.refcounts, 0, 1);
        REQUIRE(caches.l2.depend_on(co, caches.refcounts));
        caches.set(co, caches.l2, 1, 2);
        REQUIRE(caches.refcounts.depend_on(co, caches.l2));  // settles the first one
        CHECK(caches.stored(0) == 1);
        CHECK(caches.stored(1) == 0);
        caches.set(co, caches.refcounts, 0, 3);
        REQUIRE(caches.refcounts.write_back(co));
        CHECK(caches.stored(1) == 2);
        CHECK(caches.stored(0) == 3);
    });
}

TEST_CASE("qcow2 cache: data first", "[qcow2]") {
    Caches caches;
    caches.locked([&](sim::Co& co) {
        const std::vector<std::byte> data(table, std::byte{7});
        REQUIRE(caches.image.bare().file().write(co, room, std::span<const std::byte>(data)));
        caches.l2.depend_on_data();
        caches.set(co, caches.l2, 1, 2);
        const std::uint64_t flushes = caches.flushes();
        caches.image.medium().add_fault({sim::HostOp::flush, 0, 1});
        REQUIRE_FALSE(caches.l2.write_back(co));
        CHECK(caches.stored(1) == 0);
        CHECK(caches.l2.any_dirty());
        CHECK(caches.flushes() == flushes + 1);
    });
}

TEST_CASE("qcow2 cache: what is forgotten is not written", "[qcow2]") {
    Caches caches;
    caches.locked([&](sim::Co& co) {
        caches.set(co, caches.l2, 1, 2);
        caches.set(co, caches.l2, 2, 3);
        caches.l2.forget(room + table, table);
        REQUIRE(caches.l2.flush(co));
        CHECK(caches.stored(1) == 0);
        CHECK(caches.stored(2) == 3);
        caches.set(co, caches.l2, 1, 4);
        caches.l2.forget_all();
        CHECK_FALSE(caches.l2.any_dirty());
        CHECK(caches.l2.find(room + 2 * table) == nullptr);
    });
}

TEST_CASE("qcow2 cache: a table that cannot be read leaves none behind", "[qcow2]") {
    Caches caches;
    caches.locked([&](sim::Co& co) {
        caches.set(co, caches.l2, 0, 1);
        REQUIRE(caches.l2.write_back(co));
        caches.l2.forget_all();
        caches.image.medium().add_fault({sim::HostOp::read, 0, 1});
        REQUIRE_FALSE(caches.l2.get(co, room));
        CHECK(caches.l2.find(room) == nullptr);
        REQUIRE(caches.l2.get(co, room));
        CHECK(caches.l2.find(room) != nullptr);
    });
}

}  // namespace
}  // namespace blocklayer::qcow2::testing
