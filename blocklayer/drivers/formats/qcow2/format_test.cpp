// SPDX-License-Identifier: Apache-2.0
// Holds:   refcounts of every width are told apart and put where the specification says; derived
//          numbers agree with those the specification gives.
// Method:  random values against a plain array; widths walked fully; layouts spelt out in bytes.
#include "blocklayer/drivers/formats/qcow2/format.hpp"

#include "sim/rng.hpp"
#include "sim/testing/catch.hpp"

namespace blocklayer::qcow2 {
namespace {

TEST_CASE("qcow2 format: refcounts of all widths", "[qcow2]") {
    const auto order = GENERATE(0U, 1U, 2U, 3U, 4U, 5U, 6U);
    sim::RandomStream random(1, "refcounts");
    const Geometry geometry{.cluster_bits = 9, .refcount_order = order};
    std::vector<std::byte> block(geometry.cluster_bytes());
    std::vector<std::uint64_t> model(geometry.refcounts_per_block());
    CHECK(model.size() << order == geometry.cluster_bytes() * 8);
    for (int i = 0; i < 2000; ++i) {
        const std::uint64_t index = random.below(model.size());
        const std::uint64_t value = random.next() & geometry.refcount_max();
        set_refcount(block.data(), index, order, value);
        model[index] = value;
        const std::uint64_t other = random.below(model.size());
        REQUIRE(get_refcount(block.data(), other, order) == model[other]);
    }
    for (std::uint64_t i = 0; i < model.size(); ++i)
        REQUIRE(get_refcount(block.data(), i, order) == model[i]);
}

TEST_CASE("qcow2 format: where refcounts lie", "[qcow2]") {
    std::byte block[16] = {};
    set_refcount(block, 1, 0, 1);  // the second bit from below
    CHECK(block[0] == std::byte{0x02});
    set_refcount(block, 9, 0, 1);
    CHECK(block[1] == std::byte{0x02});
    set_refcount(block, 1, 2, 0xa);
    CHECK(block[0] == std::byte{0xa2});
    set_refcount(block, 1, 4, 0x1234);
    CHECK((block[2] == std::byte{0x12} && block[3] == std::byte{0x34}));
    set_refcount(block, 1, 6, 0x0102030405060708);
    CHECK((block[8] == std::byte{1} && block[15] == std::byte{8}));
    set_refcount(block, 0, 0, 0);
    CHECK(get_refcount(block, 0, 0) == 0);
}

TEST_CASE("qcow2 format: numbers derived from the cluster size", "[qcow2]") {
    const Geometry usual{.cluster_bits = 16, .refcount_order = 4};
    CHECK(usual.l2_entries() == 8192);
    CHECK(usual.bytes_per_l2() == 512ull << 20);
    CHECK(usual.refcounts_per_block() == 32768);
    CHECK(usual.refcount_max() == 65535);
    CHECK(usual.compressed_shift() == 54);
    CHECK(usual.l1_entries_for(0) == 0);
    CHECK(usual.l1_entries_for((512ull << 20) + 1) == 2);
    CHECK(Geometry{.cluster_bits = 9, .refcount_order = 6}.refcount_max() == ~0ull);
    CHECK(Geometry{.cluster_bits = 9, .refcount_order = 0}.refcount_max() == 1);
}

TEST_CASE("qcow2 format: compressed descriptors", "[qcow2]") {
    const Geometry usual{.cluster_bits = 16, .refcount_order = 4};
    // Sectors count from the one that holds the first byte.
    const std::uint64_t entry = entry_compressed | 3ull << 54 | 0x50100;
    const CompressedExtent extent = compressed_extent(usual, entry);
    CHECK(extent.offset == 0x50100);
    CHECK(extent.bytes == 4 * 512 - 0x100);
    // Nothing an entry can say is longer than two clusters or lies past 2^56.
    sim::RandomStream random(2, "descriptors");
    for (int i = 0; i < 1000; ++i) {
        const Geometry geometry{.cluster_bits = 9 + static_cast<std::uint32_t>(random.below(13)),
                                .refcount_order = 4};
        const CompressedExtent any = compressed_extent(geometry, random.next() | entry_compressed);
        REQUIRE(any.offset < host_offset_end);
        REQUIRE(any.bytes > 0);
        REQUIRE(any.bytes <= 2 * geometry.cluster_bytes());
    }
}

TEST_CASE("qcow2 format: rounding does not overflow", "[qcow2]") {
    CHECK(divide_up(~0ull, 512) == 1ull << 55);
    CHECK(divide_up(0, 512) == 0);
    CHECK(round_up(513, 512) == 1024);
    CHECK(read_be<std::uint32_t>(reinterpret_cast<const std::byte*>("QFI\xfb")) == magic);
}

}  // namespace
}  // namespace blocklayer::qcow2
