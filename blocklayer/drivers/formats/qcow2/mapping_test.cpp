// SPDX-License-Identifier: Apache-2.0
// Holds:   an extent is as long as its kind goes on, the same from memory and from disk; tables
//          that others refer to are copied before they change; damaged entries are reported, not
//          followed.
// Method:  each kind of entry beside each other; tables shared by hand; entries spoilt on disk.
#include "blocklayer/drivers/formats/qcow2/testing/memory_image.hpp"
#include "sim/testing/catch.hpp"

namespace blocklayer::qcow2::testing {
namespace {

TEST_CASE("qcow2 mapping: extents", "[qcow2]") {
    MemoryImage image("cluster-size=1024");
    REQUIRE(image.write(0, 3072, 1));
    REQUIRE(image.write_zeroes(3072, 2048));
    REQUIRE(image.write(8192, 1024, 1, RequestFlag::compressed));
    REQUIRE(image.write(9216, 1024, 2));
    const auto seen = [&](std::uint64_t offset) {
        const BlockStatus status = image.status(offset);
        return fmt::format("{}{}{}{} {}", status.data ? "d" : "", status.zero ? "z" : "",
                           status.allocated ? "a" : "", status.compressed ? "c" : "",
                           status.length);
    };
    for (int pass = 0; pass < 2; ++pass) {
        CHECK(seen(0) == "da 3072");
        CHECK(seen(512) == "da 2560");
        CHECK(seen(2048) == "da 1024");
        CHECK(seen(3072) == "za 2048");
        CHECK(seen(5120) == " 3072");
        CHECK(seen(8192) == "dac 1024");
        CHECK(seen(9216) == "da 1024");
        // Without a table everything up to the next one is alike: 128 clusters of 1 KiB.
        CHECK(seen(300 * 1024) == fmt::format(" {}", (384 - 300) * 1024));
        image.reopen();  // now from disk
    }
    Image& bare = image.bare();
    image.run([&](sim::Co& co) {
        Extent extent;
        CHECK_FALSE(bare.find_extent(0, 1024, extent));
        REQUIRE(bare.extent(co, 0, 1024));
        REQUIRE(bare.find_extent(512, 1 << 20, extent));
        CHECK(extent.kind == EntryKind::normal);
        CHECK(extent.length == 2560);
        CHECK(extent.host % 1024 == 512);
    });
}

TEST_CASE("qcow2 mapping: a shared table is copied", "[qcow2]") {
    MemoryImage image;
    REQUIRE(image.write(0, 1024, 1));
    image.close();
    // As after an internal snapshot: the table and its clusters have two users.
    const std::uint64_t l2 = image.l2_offset();
    for (const std::uint64_t at : {l2, l2 + 8}) {
        const std::uint64_t entry = image.number(at);
        image.patch(at, entry & ~entry_copied);
        image.patch(0x400 + (entry & entry_offset_mask) / 512 * 2, 2, 2);
    }
    image.patch(image.l1_offset(), l2);
    image.patch(0x400 + l2 / 512 * 2, 2, 2);
    REQUIRE(image.open() == "");
    CHECK(image.read(0, 1024) == 1);
    REQUIRE(image.write(0, 512, 2));
    CHECK(image.read(0, 512) == 2);
    CHECK(image.read(512, 512) == 1);
    image.close();
    CHECK(image.l2_offset() != l2);
    // The old table is as it was, and so is what it refers to.
    const std::uint64_t old = image.number(l2) & entry_offset_mask;
    CHECK(image.number(old, 1) == 1);
    CHECK(image.number(0x400 + l2 / 512 * 2, 2) == 1);
    CHECK(image.number(0x400 + old / 512 * 2, 2) == 1);
}

TEST_CASE("qcow2 mapping: a table that cannot be copied stays", "[qcow2]") {
    const auto skip = GENERATE(0U, 1U, 2U);
    MemoryImage image;
    REQUIRE(image.write(0, 512, 1));
    REQUIRE(image.flush());
    image.medium().add_fault({sim::HostOp::write, skip, 1});
    const IoStatus done = image.write(512 * 64, 512, 2);  // needs the second L2 table
    image.medium().clear_faults();
    CHECK(image.read(512 * 64, 512) == (done ? 2 : 0));
    REQUIRE(image.write(512 * 64, 512, 3));
    image.reopen();
    CHECK(image.read(0, 512) == 1);
    CHECK(image.read(512 * 64, 512) == 3);
    CHECK(image.check().corruptions == 0);
}

struct Damage {
    const char* create;
    bool in_l1;
    std::uint64_t entry;
    const char* message;
};

TEST_CASE("qcow2 mapping: damaged entries are reported", "[qcow2]") {
    const Damage damage = GENERATE(
        Damage{"cluster-size=4096", true, 0x5600,
               "L2 table offset 0x5600 unaligned (L1 index: 0)"},
        Damage{"cluster-size=4096", false, entry_copied | 0x5200,
               "Cluster allocation offset 0x5200 unaligned (L2 offset: 0x4000, L2 index: 0)"},
        Damage{"cluster-size=4096", false, entry_copied | 0x5201,
               "Preallocated zero cluster offset 0x5200 unaligned (L2 offset: 0x4000, L2 index: "
               "0)"},
        Damage{"cluster-size=4096,version=v2", false, 1,
               "Zero cluster entry found in pre-v3 image (L2 offset: 0x4000, L2 index: 0)"});
    INFO(damage.message);
    MemoryImage image(damage.create);
    REQUIRE(image.write(0, 4096, 1));
    image.close();
    image.patch(damage.in_l1 ? image.l1_offset() : image.l2_offset(), damage.entry);

    const std::vector<std::byte> before = image.bytes();
    REQUIRE(image.open("", true) == "");
    CHECK(image.read(0, 512) == -2);
    REQUIRE(image.events.size() == 1);
    CHECK(image.events[0].data.get_string("msg") == damage.message);
    CHECK_FALSE(image.events[0].data.get_bool("fatal", true));
    CHECK(image.events[0].data.get_string("node-name") == "image");
    CHECK(image.read(4096, 512) == (damage.in_l1 ? -2 : 0));
    CHECK(image.events.size() == 1);  // once is enough
    image.close();
    CHECK(image.bytes() == before);

    REQUIRE(image.open() == "");
    CHECK_FALSE(image.write(0, 512, 1));
    REQUIRE(image.events.size() == 2);
    CHECK(image.events[1].data.get_bool("fatal", false));
    image.close();
    const bool marked = image.number(4, 4) == 3 && (image.number(72) & incompatible_corrupt) != 0;
    CHECK(marked == (image.number(4, 4) == 3));
}

}  // namespace
}  // namespace blocklayer::qcow2::testing
