// SPDX-License-Identifier: Apache-2.0
// Holds:   a read returns what was acknowledged last, whatever the order in which overlapping
//          writes to unallocated clusters run; a write that fails lets those behind it go on; new
//          clusters show around the data what was there before; data does not overwrite metadata.
// Method:  writers of sub-cluster pieces under random schedules; one injected error with writers
//          waiting; backing files; images whose refcounts lie.
#include "blocklayer/drivers/formats/qcow2/testing/memory_image.hpp"
#include "sim/testing/catch.hpp"

namespace blocklayer::qcow2::testing {
namespace {

sim::WorldOptions shuffled(std::uint64_t seed) {
    return {.seed = seed, .schedule = sim::random_schedule(seed)};
}

// Each writer has pieces of its own in clusters that all of them write to.
TEST_CASE("qcow2 allocation: overlapping writes keep each other's bytes", "[qcow2]") {
    const std::uint64_t seed = GENERATE(range(1U, 13U));
    constexpr std::uint64_t cluster = 4096, piece = 512, clusters = 3, writers = 8;
    MemoryImage image("cluster-size=4096", "l2-cache-size=1024,l2-cache-entry-size=512",
                      shuffled(seed));
    int done = 0;
    for (std::uint64_t writer = 0; writer < writers; ++writer)
        image.world.spawn(image.world.main_thread(), "writer", [&, writer](sim::Co& co) {
            const std::vector<std::byte> data(piece, static_cast<std::byte>(writer + 1));
            for (std::uint64_t i = 0; i < clusters; ++i)
                REQUIRE(image.disk->write(co, i * cluster + writer * piece,
                                          std::span<const std::byte>(data)));
            ++done;
        });
    image.world.run_until_idle();
    REQUIRE(done == writers);
    for (std::uint64_t i = 0; i < clusters; ++i)
        for (std::uint64_t writer = 0; writer < writers; ++writer)
            CHECK(image.read(i * cluster + writer * piece, piece) == static_cast<int>(writer + 1));
    image.reopen();
    CHECK(image.check_counts() == "0/0/0");
    CHECK(image.check().allocated_clusters == clusters);
    for (std::uint64_t writer = 0; writer < writers; ++writer)
        CHECK(image.read(writer * piece, piece) == static_cast<int>(writer + 1));
}

// Writes, zeroes, discards and flushes of whole and part clusters, all at once, against the rule
// that a sector reads as something written to it that nobody had overwritten before.
TEST_CASE("qcow2 allocation: everything at once", "[qcow2]") {
    const std::uint64_t seed = GENERATE(range(1U, 9U));
    constexpr std::uint64_t sectors = 64, fibers = 5;
    MemoryImage image("cluster-size=1024",
                      "l2-cache-size=1024,l2-cache-entry-size=512,refcount-cache-size=4096",
                      shuffled(seed));
    sim::RandomStream& random = image.world.rng("work");
    std::vector<std::vector<bool>> may(sectors, std::vector<bool>(256));
    for (auto& values : may) values[0] = true;
    int done = 0, value = 0;
    for (std::uint64_t i = 0; i < fibers; ++i)
        image.world.spawn(image.world.main_thread(), "worker", [&](sim::Co& co) {
            for (int step = 0; step < 12; ++step) {
                const std::uint64_t first = random.below(sectors);
                const std::uint64_t count = 1 + random.below(std::min(sectors - first, 6ul));
                const std::uint64_t kind = random.below(6);
                const int mine = kind < 3 ? ++value : 0;
                for (std::uint64_t at = first; at < first + count; ++at)
                    may[at][static_cast<std::size_t>(mine)] = true;
                const std::vector<std::byte> data(count * 512, static_cast<std::byte>(mine));
                if (kind < 3)
                    REQUIRE(image.disk->write(co, first * 512, std::span<const std::byte>(data)));
                else if (kind == 3)
                    REQUIRE(image.disk->write_zeroes(co, first * 512, count * 512,
                                                     random.chance(1, 2)
                                                         ? RequestFlags(RequestFlag::may_unmap)
                                                         : RequestFlags()));
                else if (kind == 4)
                    REQUIRE(image.disk->discard(co, first * 512, count * 512));
                else
                    REQUIRE(image.disk->flush(co));
            }
            ++done;
        });
    image.world.run_until_idle();
    REQUIRE(done == fibers);
    std::vector<int> seen(sectors);
    for (std::uint64_t at = 0; at < sectors; ++at) {
        seen[at] = image.read(at * 512, 512);
        REQUIRE(seen[at] >= 0);
        REQUIRE(may[at][static_cast<std::size_t>(seen[at])]);
    }
    image.reopen();
    for (std::uint64_t at = 0; at < sectors; ++at) CHECK(image.read(at * 512, 512) == seen[at]);
    CHECK(image.check_counts() == "0/0/0");
}

TEST_CASE("qcow2 allocation: a failed write does not hold up those behind it", "[qcow2]") {
    const std::uint64_t seed = GENERATE(range(1U, 9U));
    MemoryImage image("cluster-size=4096", "", shuffled(seed));
    REQUIRE(image.write(8 * 4096, 512, 9));  // the L2 table is there
    image.medium().add_fault({sim::HostOp::write, 0, 1});
    int done = 0, failed = 0;
    std::vector<bool> kept(3);
    for (std::uint64_t writer = 0; writer < 3; ++writer)
        image.world.spawn(image.world.main_thread(), "writer", [&, writer](sim::Co& co) {
            const std::vector<std::byte> data(512, static_cast<std::byte>(writer + 1));
            kept[writer] = image.disk->write(co, writer * 512, std::span<const std::byte>(data))
                               .has_value();
            failed += !kept[writer];
            ++done;
        });
    image.world.run_until_idle();
    CHECK(image.world.waiting_report() == "");
    CHECK(done == 3);
    CHECK(failed == 1);
    for (std::uint64_t writer = 0; writer < 3; ++writer)
        CHECK(image.read(writer * 512, 512) == (kept[writer] ? static_cast<int>(writer + 1) : 0));
    image.reopen();
    CHECK(image.check_counts() == "0/0/0");
}

TEST_CASE("qcow2 allocation: what is around comes from the backing file", "[qcow2]") {
    MemoryImage image("cluster-size=4096");
    sim::ByteImage base;
    base.write(0, std::vector<std::byte>(6144, std::byte{0xbb}));  // ends within cluster 1
    image.store.put("base.raw", std::move(base));
    image.close();
    Value backing = Value::dict({{"driver", "raw"}});
    backing.set("file", Value::dict({{"driver", "file"}, {"filename", "base.raw"}}));
    image.backing = backing;
    REQUIRE(image.open() == "");
    REQUIRE(image.write(512, 512, 1));
    CHECK(image.read(0, 512) == 0xbb);
    CHECK(image.read(512, 512) == 1);
    CHECK(image.read(1024, 3072) == 0xbb);
    REQUIRE(image.write(4096, 512, 2));
    CHECK(image.read(4608, 1536) == 0xbb);
    CHECK(image.read(6144, 2048) == 0);
    CHECK(image.status(0).allocated);
    CHECK_FALSE(image.status(8192).allocated);
    CHECK(image.check_counts() == "0/0/0");
}

TEST_CASE("qcow2 allocation: preallocated zeroes are used where they are", "[qcow2]") {
    MemoryImage image("cluster-size=4096");
    REQUIRE(image.write(0, 8192, 1));
    const std::uint64_t place = image.status(0).offset;
    REQUIRE(image.write_zeroes(0, 8192));
    CHECK(image.status(0).zero);
    CHECK(image.status(0).offset == place);
    REQUIRE(image.write(512, 512, 2));
    CHECK(image.status(0).offset == place);
    CHECK(image.read(0, 512) == 0);
    CHECK(image.read(512, 512) == 2);
    CHECK(image.read(1024, 7168) == 0);
    image.reopen();
    CHECK(image.check_counts() == "0/0/0");
}

TEST_CASE("qcow2 allocation: free clusters that hold metadata are not written to", "[qcow2]") {
    MemoryImage image;
    REQUIRE(image.write(0, 512, 1));
    image.close();
    const std::uint64_t l2 = image.l2_offset();
    image.patch(0x400 + l2 / 512 * 2, 0, 2);  // the refcount of the L2 table
    REQUIRE(image.open() == "");
    CHECK_FALSE(image.write(1024, 512, 2));
    REQUIRE(image.events.size() == 1);
    CHECK(image.events[0].data.get_string("msg") ==
          "Preventing invalid write on metadata (overlaps with active L2 table)");
    CHECK(image.events[0].data.get_bool("fatal", false));
    // From now on nothing is possible, and the image says so itself.
    CHECK_FALSE(image.write(0, 512, 3));
    CHECK(image.read(0, 512) == -2);
    image.close();
    CHECK((image.number(72) & incompatible_corrupt) != 0);
    CHECK(image.open() == "qcow2: Image is corrupt; cannot be opened read/write");
    REQUIRE(image.open("", true) == "");
    CHECK(image.read(0, 512) == 1);
}

TEST_CASE("qcow2 allocation: lazy refcounts mark the image", "[qcow2]") {
    MemoryImage image("lazy-refcounts=on");
    CHECK((image.number(72) & incompatible_dirty) == 0);
    REQUIRE(image.write(0, 512, 1));
    CHECK((image.number(72) & incompatible_dirty) != 0);
    REQUIRE(image.flush());
    // As if the host had died: refcounts are behind, and opening repairs them.
    const std::vector<std::byte> crashed = image.bytes();
    image.close();
    CHECK((image.number(72) & incompatible_dirty) == 0);
    image.put(crashed);
    REQUIRE(image.open("", true) == "");
    CHECK(image.check().corruptions > 0);
    image.close();
    REQUIRE(image.open() == "");
    CHECK((image.number(72) & incompatible_dirty) == 0);
    CHECK(image.check_counts() == "0/0/0");
    CHECK(image.read(0, 512) == 1);
}

}  // namespace
}  // namespace blocklayer::qcow2::testing
