// SPDX-License-Identifier: Apache-2.0
// Holds:   a longer disk reads as zeroes where it is new, whatever lies below; a shorter one gives
//          its clusters back; preallocation reserves and changes nothing that is seen; refusals
//          leave the disk as it was.
// Method:  each way of changing the length, with the check afterwards; injected errors.
#include "blocklayer/drivers/formats/qcow2/testing/memory_image.hpp"
#include "sim/testing/catch.hpp"

namespace blocklayer::qcow2::testing {
namespace {

// Reopens the image over a raw file of 8 KiB, all of it 0xbb.
void put_over_longer_file(MemoryImage& image) {
    sim::ByteImage base;
    base.write(0, std::vector<std::byte>(8192, std::byte{0xbb}));
    image.store.put("base.raw", std::move(base));
    image.close();
    image.backing = Value::dict({{"driver", "raw"}});
    image.backing.set("file", Value::dict({{"driver", "file"}, {"filename", "base.raw"}}));
    REQUIRE(image.open() == "");
}

TEST_CASE("qcow2 resize: longer, also beyond the L1 table", "[qcow2]") {
    MemoryImage image("size=32768");  // one L2 table of 512-byte clusters
    REQUIRE(image.write(0, 32768, 1));
    const std::uint64_t l1 = image.l1_offset();
    CHECK(image.resize(4 << 20) == "");
    CHECK(image.l1_offset() != l1);
    CHECK(image.disk->length() == 4 << 20);
    CHECK(image.read(0, 32768) == 1);
    CHECK(image.read(32768, 65536) == 0);
    REQUIRE(image.write((4 << 20) - 512, 512, 2));
    image.reopen();
    CHECK(image.disk->length() == 4 << 20);
    CHECK(image.read((4 << 20) - 512, 512) == 2);
    CHECK(image.check_counts() == "0/0/0");
}

TEST_CASE("qcow2 resize: shorter, and longer again", "[qcow2]") {
    MemoryImage image;
    REQUIRE(image.write(0, 1 << 20, 1));
    const std::uint64_t full = image.medium().contents().size();
    CHECK(image.resize(1536) == "");
    CHECK(image.read(0, 1536) == 1);
    CHECK(image.medium().contents().size() < full / 4);
    CHECK(image.resize(1 << 20) == "");
    CHECK(image.read(0, 1536) == 1);
    CHECK(image.read(1536, (1 << 20) - 1536) == 0);
    image.reopen();
    CHECK(image.check_counts() == "0/0/0");
    CHECK(image.check().allocated_clusters == 3);
}

TEST_CASE("qcow2 resize: a longer backing file does not show", "[qcow2]") {
    const bool part = GENERATE(false, true);
    MemoryImage image(part ? "size=1536,cluster-size=1024" : "size=2048,cluster-size=1024");
    put_over_longer_file(image);
    const std::uint64_t before = image.disk->length();
    CHECK(image.resize(16384) == "");
    CHECK(image.read(0, before) == 0xbb);
    CHECK(image.read(before, 16384 - before) == 0);
    image.reopen();
    CHECK(image.read(before, 16384 - before) == 0);
    CHECK(image.check_counts() == "0/0/0");
}

TEST_CASE("qcow2 resize: version 2 cannot hide a longer backing file", "[qcow2]") {
    MemoryImage image("size=2048,cluster-size=1024,version=v2");
    put_over_longer_file(image);
    CHECK(image.resize(16384) == "Failed to zero out new clusters: Operation not supported");
    CHECK(image.disk->length() == 2048);
    CHECK(image.check_counts() == "0/0/0");
}

TEST_CASE("qcow2 resize: what vouches for bitmaps goes", "[qcow2]") {
    MemoryImage image;
    image.close();
    image.patch(88, autoclear_bitmaps | 1ull << 40);
    REQUIRE(image.open() == "");
    CHECK(image.resize(2 << 20) == "");
    CHECK(image.number(88) == 0);  // as everything that is not known to stay true
}

TEST_CASE("qcow2 resize: preallocation", "[qcow2]") {
    const auto mode = GENERATE("metadata", "falloc", "full");
    MemoryImage image("size=4096,cluster-size=1024");
    REQUIRE(image.write(0, 4096, 1));
    CHECK(image.resize(1 << 20, mode) == "");
    CHECK(image.read(0, 4096) == 1);
    CHECK(image.read(4096, (1 << 20) - 4096) == 0);
    CHECK(image.status(4096).allocated);
    const std::uint64_t size = image.medium().contents().size();
    REQUIRE(image.write(8192, 65536, 2));
    CHECK(image.medium().contents().size() == size);  // in place
    image.reopen();
    CHECK(image.check().allocated_clusters == 1024);
    CHECK(image.check_counts() == "0/0/0");
}

TEST_CASE("qcow2 resize: what is refused", "[qcow2]") {
    MemoryImage image;
    CHECK(image.resize(1 << 19, "falloc") ==
          "Preallocation can only be used for growing images");
    CHECK(image.resize(1000) == "The new size must be a multiple of 512");
    // 512-byte clusters: an L1 table of 32 MiB maps 128 GiB.
    CHECK(image.resize(1ull << 40) == "Failed to grow the L1 table: File too large");
    CHECK(image.disk->length() == 1 << 20);
    image.reopen();
    CHECK(image.check_counts() == "0/0/0");
}

TEST_CASE("qcow2 resize: an error on the way leaves the old length", "[qcow2]") {
    const auto skip = GENERATE(0U, 1U, 2U, 3U);
    MemoryImage image("size=32768");
    REQUIRE(image.write(0, 32768, 1));
    REQUIRE(image.flush());
    image.medium().add_fault({sim::HostOp::write, skip, 1000});
    const std::string refused = image.resize(4 << 20);
    image.medium().clear_faults();
    if (!refused.empty()) CHECK(image.disk->length() == 32768);
    CHECK(image.read(0, 32768) == 1);
    image.reopen();
    CHECK(image.check().corruptions == 0);
    CHECK(image.read(0, 32768) == 1);
}

}  // namespace
}  // namespace blocklayer::qcow2::testing
