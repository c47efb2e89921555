// SPDX-License-Identifier: Apache-2.0
// Holds:   a cluster is given to one user at a time, with refcounts of every width, through new
//          refcount blocks and tables; one that is given back is not used before that is on stable
//          storage; a failure on the way leaks at most.
// Method:  a bare image: random allocations and frees against a set; injected errors; then the
//          check.
#include <map>
#include <set>

#include "blocklayer/drivers/formats/qcow2/testing/memory_image.hpp"
#include "sim/testing/catch.hpp"

namespace blocklayer::qcow2::testing {
namespace {

template <class Body>
void locked(MemoryImage& image, Body&& body) {
    Image& bare = image.bare();
    image.run([&](sim::Co& co) {
        const sim::MutexLock lock(co, bare.mutex);
        body(co, bare);
    });
}

TEST_CASE("qcow2 refcounts: nobody gets another's cluster", "[qcow2]") {
    const auto bits = GENERATE("1", "2", "4", "8", "16", "32", "64");
    MemoryImage image("refcount-bits=" + std::string(bits));
    sim::RandomStream random(1, bits);
    std::map<std::uint64_t, std::uint64_t> held;  // offset and bytes of each allocation
    std::set<std::uint64_t> clusters;
    locked(image, [&](sim::Co& co, Image& bare) {
        for (int i = 0; i < 300; ++i) {
            if (random.chance(3, 5)) {
                const std::uint64_t bytes = 512 * (1 + random.below(6));
                const auto offset = bare.allocate_clusters(co, bytes);
                REQUIRE(offset);
                REQUIRE(*offset % 512 == 0);
                for (std::uint64_t at = 0; at < bytes; at += 512)
                    REQUIRE(clusters.insert(*offset + at).second);
                held[*offset] = bytes;
            } else if (!held.empty()) {
                auto it = held.begin();
                std::advance(it, static_cast<std::ptrdiff_t>(random.below(held.size())));
                REQUIRE(bare.drop_references(co, it->first, it->second, FreeReason::other));
                for (std::uint64_t at = 0; at < it->second; at += 512)
                    clusters.erase(it->first + at);
                held.erase(it);
            }
            if (!clusters.empty()) REQUIRE(*bare.refcount(co, *clusters.begin() / 512) == 1);
        }
        const std::uint64_t end = *bare.end_cluster(co);
        REQUIRE(end > *clusters.rbegin() / 512);
        REQUIRE(bare.write_caches(co));
        for (const auto& [offset, bytes] : held)
            REQUIRE(bare.drop_references(co, offset, bytes, FreeReason::other));
        REQUIRE(bare.write_caches(co));
    });
    image.reopen();
    CHECK(image.check_counts() == "0/0/0");
}

TEST_CASE("qcow2 refcounts: the table grows, and what was there stays", "[qcow2]") {
    // 64 blocks of 64 counts: 4096 clusters of 512 bytes in the first table.
    MemoryImage image("refcount-bits=64");
    locked(image, [&](sim::Co& co, Image& bare) {
        const std::uint64_t table = bare.header.refcount_table_offset;
        const auto offset = bare.allocate_clusters(co, 5000 * 512);
        REQUIRE(offset);
        CHECK(bare.header.refcount_table_offset != table);
        CHECK(*bare.refcount(co, *offset / 512) == 1);
        CHECK(*bare.refcount(co, *offset / 512 + 4999) == 1);
        CHECK(*bare.refcount(co, table / 512) == 0);
        REQUIRE(bare.drop_references(co, *offset, 5000 * 512, FreeReason::other));
        REQUIRE(bare.write_caches(co));
    });
    image.reopen();
    CHECK(image.check_counts() == "0/0/0");
    CHECK(image.number(56, 4) > 1);
}

TEST_CASE("qcow2 refcounts: no more than fit", "[qcow2]") {
    MemoryImage image("refcount-bits=2");
    locked(image, [&](sim::Co& co, Image& bare) {
        const std::uint64_t offset = *bare.allocate_clusters(co, 1024);
        REQUIRE(bare.add_references(co, offset + 512, 512));
        REQUIRE(bare.add_references(co, offset + 512, 512));
        CHECK(*bare.refcount(co, offset / 512 + 1) == 3);
        // All or nothing: the first cluster's count is taken back.
        const IoStatus more = bare.add_references(co, offset, 1024);
        REQUIRE_FALSE(more);
        CHECK(more.error() == Errno::invalid);
        CHECK(*bare.refcount(co, offset / 512) == 1);
        CHECK(*bare.refcount(co, offset / 512 + 1) == 3);
        REQUIRE(bare.drop_references(co, offset, 512, FreeReason::other));
        CHECK_FALSE(bare.drop_references(co, offset, 512, FreeReason::other));  // below zero
    });
}

TEST_CASE("qcow2 refcounts: freed clusters wait for a flush", "[qcow2]") {
    MemoryImage image;
    std::uint64_t first = 0;
    locked(image, [&](sim::Co& co, Image& bare) {
        first = *bare.allocate_clusters(co, 512);
        REQUIRE(bare.drop_references(co, first, 512, FreeReason::other));
        CHECK(*bare.allocate_clusters(co, 512) != first);
        CHECK(*bare.allocate_at(co, first, 1) == 0);
    });
    image.run([&](sim::Co& co) { REQUIRE(image.bare().flush(co)); });
    locked(image, [&](sim::Co& co, Image& bare) {
        CHECK(*bare.allocate_clusters(co, 512) == first);
    });
}

TEST_CASE("qcow2 refcounts: the host is offered freed clusters after the flush", "[qcow2]") {
    MemoryImage image;
    REQUIRE(image.write(0, 64 * 512, 1));
    REQUIRE(image.flush());
    const auto discards = [&] { return image.medium().operations(sim::HostOp::discard); };
    REQUIRE(image.discard(0, 64 * 512));
    CHECK(discards() == 0);
    REQUIRE(image.flush());
    CHECK(discards() > 0);
    image.reopen("pass-discard-request=off");
    const std::uint64_t before = discards();
    REQUIRE(image.write(0, 64 * 512, 1));
    REQUIRE(image.discard(0, 64 * 512));
    REQUIRE(image.flush());
    CHECK(discards() == before);
}

TEST_CASE("qcow2 refcounts: compressed data shares clusters", "[qcow2]") {
    MemoryImage image("cluster-size=4096");
    locked(image, [&](sim::Co& co, Image& bare) {
        const std::uint64_t first = *bare.allocate_bytes(co, 1000);
        CHECK(*bare.allocate_bytes(co, 1000) == first + 1000);
        CHECK(*bare.refcount(co, first / 4096) == 2);
        // The next cluster is free, so the data goes across.
        CHECK(*bare.allocate_bytes(co, 4000) == first + 2000);
        CHECK(*bare.refcount(co, first / 4096) == 3);
        CHECK(*bare.refcount(co, first / 4096 + 1) == 1);
        // Once nobody uses the cluster it is not gone on with.
        REQUIRE(bare.drop_references(co, first, 1000, FreeReason::other));
        REQUIRE(bare.drop_references(co, first + 1000, 1000, FreeReason::other));
        REQUIRE(bare.drop_references(co, first + 2000, 4000, FreeReason::other));
        const std::uint64_t elsewhere = *bare.allocate_bytes(co, 10);
        CHECK(elsewhere / 4096 > first / 4096 + 1);
    });
}

TEST_CASE("qcow2 refcounts: a block that cannot be written is no block", "[qcow2]") {
    // The first block describes 64 clusters; the fault hits the second one.
    const auto skip = GENERATE(0U, 1U, 2U);
    MemoryImage image("refcount-bits=64");
    locked(image, [&](sim::Co& co, Image& bare) {
        REQUIRE(bare.allocate_clusters(co, 50 * 512));
        REQUIRE(bare.write_caches(co));
        image.medium().add_fault({sim::HostOp::write, skip, 1});
        const auto failed = bare.allocate_clusters(co, 20 * 512);
        image.medium().clear_faults();
        const auto second = bare.allocate_clusters(co, 20 * 512);
        REQUIRE(second);
        if (failed) CHECK(*second != *failed);
        REQUIRE(bare.write_caches(co));
    });
    image.reopen();
    const Driver::CheckResult found = image.check();
    CHECK(found.corruptions == 0);
    CHECK(found.leaks >= 70);
    CHECK(image.check_counts(Driver::Repair::leaks) == "0/0/0");
    CHECK(image.check_counts() == "0/0/0");
}

TEST_CASE("qcow2 refcounts: blocks in odd places are damage", "[qcow2]") {
    MemoryImage image("cluster-size=4096");
    image.close();
    image.patch(image.number(48), 0x100000);  // aligned, and past the end
    REQUIRE(image.open() == "");
    CHECK(image.check().corruptions > 0);
    image.close();
    image.patch(image.number(48), 0x600);
    REQUIRE(image.open() == "");
    CHECK_FALSE(image.write(0, 512, 1));
    REQUIRE(image.events.size() == 1);
    CHECK(image.events[0].name == sim::Label("BLOCK_IMAGE_CORRUPTED"));
    CHECK(image.events[0].data.get_string("msg") ==
          "Refblock offset 0x600 unaligned (reftable index: 0)");
}

}  // namespace
}  // namespace blocklayer::qcow2::testing
