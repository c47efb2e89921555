// SPDX-License-Identifier: Apache-2.0
// Holds:   the check counts every reference once, tells damage from leaks, and changes nothing
//          unless told to; repairs fix what they say and no more, and clear the marks of a broken
//          image.
// Method:  one thing wrong at a time. How the counts compare with the real program's is the
//          business of test_qcow2_checks.py.
#include "blocklayer/drivers/formats/qcow2/testing/memory_image.hpp"
#include "sim/testing/catch.hpp"

namespace blocklayer::qcow2::testing {
namespace {

using Repair = Driver::Repair;

// Two clusters of data, closed.
struct Sample : MemoryImage {
    Sample() {
        REQUIRE(write(0, 1024, 1));
        close();
        l2 = l2_offset();
        data = number(l2) & entry_offset_mask;
    }
    std::uint64_t count_at(std::uint64_t offset) { return 0x400 + offset / 512 * 2; }
    // Opens it, checks it, and closes it again.
    std::string found(Repair repair = Repair::none) {
        REQUIRE(open("", repair == Repair::none) == "");
        std::string counts = check_counts(repair);
        close();
        return counts;
    }
    std::uint64_t l2, data;
};

TEST_CASE("qcow2 check: a sound image", "[qcow2]") {
    Sample image;
    const std::vector<std::byte> before = image.bytes();
    CHECK(image.found() == "0/0/0");
    REQUIRE(image.open() == "");
    const Driver::CheckResult found = image.check();
    CHECK(found.messages.empty());
    CHECK(found.total_clusters == 2048);
    CHECK(found.allocated_clusters == 2);
    CHECK(found.fragmented_clusters == 0);
    CHECK(found.image_end_offset == round_up(before.size(), 512));
    image.close();
    CHECK(image.bytes() == before);
}

TEST_CASE("qcow2 check: a leak", "[qcow2]") {
    Sample image;
    image.patch(image.count_at(image.data), 2, 2);
    CHECK(image.found() == "1/1/0");  // and the COPIED bit says that it has one user
    CHECK(image.number(image.count_at(image.data), 2) == 2);
    CHECK(image.found(Repair::leaks) == "0/0/0");
    CHECK(image.number(image.count_at(image.data), 2) == 1);
}

TEST_CASE("qcow2 check: too few references counted", "[qcow2]") {
    Sample image;
    image.patch(image.count_at(image.data), 0, 2);
    CHECK(image.found() == "2/0/0");
    CHECK(image.found(Repair::leaks) == "2/0/0");
    CHECK(image.found(Repair::errors) == "0/0/0");
    CHECK(image.found() == "0/0/0");
}

TEST_CASE("qcow2 check: two users of one cluster", "[qcow2]") {
    Sample image;
    image.patch(image.l2 + 8, image.number(image.l2));
    CHECK(image.found() == "1/1/0");
    CHECK(image.found(Repair::all) == "0/0/0");
    CHECK(image.number(image.count_at(image.data), 2) == 2);
    CHECK((image.number(image.l2) & entry_copied) == 0);  // neither may write to it in place
    CHECK((image.number(image.l2 + 8) & entry_copied) == 0);
    REQUIRE(image.open() == "");
    REQUIRE(image.write(0, 512, 2));
    CHECK(image.read(512, 512) == 1);
}

TEST_CASE("qcow2 check: entries that point nowhere", "[qcow2]") {
    Sample image;
    image.patch(image.l2, entry_copied | 1ull << 40);
    CHECK(image.found() == "2/1/0");
    CHECK(image.found(Repair::all) == "1/0/0");  // nobody can know where it should point
}

TEST_CASE("qcow2 check: refcount structures are rebuilt", "[qcow2]") {
    const auto where = GENERATE(0x100000ull, 0x20800ull, 0x400ull | 1ull << 63, 0x0ull, 0x600ull);
    Sample image;
    const std::vector<std::byte> before = image.bytes();
    image.patch(0x200, where);
    CHECK(image.found() != "0/0/0");
    CHECK(image.found(Repair::all) == "0/0/0");
    CHECK(image.found() == "0/0/0");
    REQUIRE(image.open() == "");
    CHECK(image.read(0, 1024) == 1);
    REQUIRE(image.write(2048, 65536, 2));
    CHECK(image.check_counts() == "0/0/0");
}

TEST_CASE("qcow2 check: a repaired image is no longer marked", "[qcow2]") {
    Sample image;
    image.patch(image.count_at(image.data), 0, 2);
    image.patch(72, incompatible_corrupt | incompatible_dirty);
    CHECK(image.open() == "qcow2: Image is corrupt; cannot be opened read/write");
    image.patch(72, incompatible_dirty);
    REQUIRE(image.open() == "");  // which repairs it
    CHECK(image.check_counts() == "0/0/0");
    image.close();
    CHECK(image.number(72) == 0);
}

TEST_CASE("qcow2 check: a file too large to be checked", "[qcow2]") {
    Sample image;
    sim::ByteImage huge = image.medium().contents();
    huge.resize(1ull << 60);
    image.store.put(MemoryImage::name, std::move(huge));
    REQUIRE(image.open() == "");
    const auto result =
        image.run([&](sim::Co& co) { return image.node->driver().check(co, Repair::none); });
    REQUIRE_FALSE(result);
    CHECK(result.error() == Errno::no_memory);
    CHECK(image.read(0, 1024) == 1);
}

TEST_CASE("qcow2 check: an error while repairing is told", "[qcow2]") {
    Sample image;
    image.patch(image.count_at(image.data), 0, 2);
    REQUIRE(image.open() == "");
    image.medium().add_fault({sim::HostOp::write, 0, 1});
    const auto result =
        image.run([&](sim::Co& co) { return image.node->driver().check(co, Repair::all); });
    CHECK_FALSE(result);
    image.medium().clear_faults();
    CHECK(image.check_counts(Repair::all) == "0/0/0");
}

}  // namespace
}  // namespace blocklayer::qcow2::testing
