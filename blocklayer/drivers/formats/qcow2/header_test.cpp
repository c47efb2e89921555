// SPDX-License-Identifier: Apache-2.0
// Holds:   a header is what it was after it has been written and read, unknown parts included; no
//          bytes whatsoever do more than get an error.
// Method:  headers with and without each part; random bytes and spoilt headers. The sentences of
//          refusals are held against the real program elsewhere (test_qcow2_refusals.py).
#include "blocklayer/drivers/formats/qcow2/header.hpp"

#include <algorithm>

#include "sim/rng.hpp"
#include "sim/testing/catch.hpp"

namespace blocklayer::qcow2 {
namespace {

Header sample(std::uint32_t version, std::uint32_t cluster_bits) {
    Header header;
    header.version = version;
    header.geometry = {.cluster_bits = cluster_bits, .refcount_order = version == 2 ? 4U : 6U};
    header.size = 1 << 20;
    header.l1_entries = static_cast<std::uint32_t>(header.geometry.l1_entries_for(header.size));
    header.l1_offset = header.geometry.cluster_bytes() * 3;
    header.refcount_table_offset = header.geometry.cluster_bytes();
    header.refcount_table_clusters = 1;
    return header;
}

Result<Header> parse(std::span<const std::byte> bytes) {
    Header header = TRY(parse_header(bytes));
    TRY(parse_extensions(header,
                         bytes.first(std::min<std::size_t>(bytes.size(), extensions_end(header)))));
    return header;
}

Header round_trip(Header header) {
    auto bytes = serialise_header(header);
    REQUIRE(bytes);
    bytes->resize(header.geometry.cluster_bytes());
    auto back = parse(*bytes);
    INFO((back ? "" : back.error().text));
    REQUIRE(back);
    return std::move(*back);
}

TEST_CASE("qcow2 header: round trip", "[qcow2]") {
    const auto version = GENERATE(2U, 3U);
    const auto bits = GENERATE(9U, 16U, 21U);
    Header header = sample(version, bits);
    header.backing_file = "base.img";
    header.backing_format = "qcow2";
    header.snapshot_count = 2;
    header.snapshots_offset = header.geometry.cluster_bytes() * 7;
    const Header back = round_trip(header);
    CHECK(back.version == version);
    CHECK(back.geometry.cluster_bits == bits);
    CHECK(back.geometry.refcount_order == header.geometry.refcount_order);
    CHECK(back.size == header.size);
    CHECK(back.l1_entries == header.l1_entries);
    CHECK(back.l1_offset == header.l1_offset);
    CHECK(back.refcount_table_offset == header.refcount_table_offset);
    CHECK(back.refcount_table_clusters == 1);
    CHECK(back.backing_file == "base.img");
    CHECK(back.backing_format == "qcow2");
    CHECK(back.snapshot_count == 2);
    CHECK(back.snapshots_offset == header.snapshots_offset);
    CHECK(back.header_bytes == (version == 2 ? header_bytes_v2 : header_bytes_written));
    CHECK(back.has_feature_names == (version == 3 && bits > 12));
}

TEST_CASE("qcow2 header: what is unknown is kept", "[qcow2]") {
    Header header = sample(3, 16);
    header.unknown_fields = {std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4},
                             std::byte{5}, std::byte{6}, std::byte{7}, std::byte{8}};
    header.extensions.push_back({0x11111111, {std::byte{9}}});  // padded to 8 bytes
    header.extensions.push_back({0x22222222, {}});
    header.compatible = 1ull << 40;
    header.autoclear = 1ull << 41;
    const Header back = round_trip(header);
    CHECK(back.unknown_fields == header.unknown_fields);
    REQUIRE(back.extensions.size() == 2);
    CHECK(back.extensions[0].type == 0x11111111);
    CHECK(back.extensions[0].data == header.extensions[0].data);
    CHECK(back.extensions[1].type == 0x22222222);
    CHECK(back.compatible == header.compatible);
    CHECK(back.autoclear == header.autoclear);
}

TEST_CASE("qcow2 header: marks and bitmaps", "[qcow2]") {
    Header header = sample(3, 16);
    header.incompatible = incompatible_dirty | incompatible_corrupt | incompatible_compression;
    header.compression = Compression::zstd;
    header.compatible = compatible_lazy_refcounts;
    header.has_bitmaps = true;
    header.bitmaps = {.count = 3, .directory_bytes = 96, .directory_offset = 0x80000};
    const Header back = round_trip(header);
    CHECK((back.dirty() && back.corrupt() && back.lazy_refcounts()));
    CHECK(back.compression == Compression::zstd);
    REQUIRE(back.has_bitmaps);
    CHECK(back.bitmaps.count == 3);
    CHECK(back.bitmaps.directory_bytes == 96);
    CHECK(back.bitmaps.directory_offset == 0x80000);
}

TEST_CASE("qcow2 header: one that does not fit is not written", "[qcow2]") {
    Header header = sample(3, 9);
    header.backing_file = std::string(400, 'x');
    const auto bytes = serialise_header(header);
    REQUIRE_FALSE(bytes);
    CHECK(bytes.error() == Errno::no_space);
}

TEST_CASE("qcow2 header: an image names the features it needs", "[qcow2]") {
    Header header = sample(3, 16);
    header.incompatible = 1ull << 7 | 1ull << 50;
    auto bytes = serialise_header(header);
    REQUIRE(bytes);
    // The table of names is the first extension; its first entry becomes that of bit 7.
    const std::size_t names = header_bytes_written + 8;
    (*bytes)[names + 1] = std::byte{7};
    std::memcpy(bytes->data() + names + 2, "time travel\0", 12);
    bytes->resize(65536);
    const auto parsed = parse(*bytes);
    REQUIRE_FALSE(parsed);
    CHECK(parsed.error().text ==
          "Unsupported qcow2 feature(s): time travel, "
          "Unknown incompatible feature: 4000000000000");
    CHECK(parsed.error().code == Errno::not_supported);
}

TEST_CASE("qcow2 header: a name in a cluster that is not all there", "[qcow2]") {
    Header header = sample(3, 16);
    header.backing_file = "base";
    auto bytes = serialise_header(header);
    REQUIRE(bytes);
    bytes->resize(bytes->size() - 1);
    const auto parsed = parse(*bytes);
    REQUIRE_FALSE(parsed);
    CHECK(parsed.error().text == "Could not read backing file name");
}

TEST_CASE("qcow2 header: no bytes do harm", "[qcow2]") {
    const std::uint64_t seed = GENERATE(1U, 2U);
    sim::RandomStream random(seed, "headers");
    int opened = 0, refused = 0;
    for (int i = 0; i < 2000; ++i) {
        Header header = sample(random.chance(1, 4) ? 2 : 3, random.chance(1, 2) ? 9 : 12);
        if (random.chance(1, 2)) header.backing_file = "base";
        if (random.chance(1, 2)) header.extensions.push_back({7, {std::byte{1}}});
        auto bytes = serialise_header(header);
        REQUIRE(bytes);
        bytes->resize(random.chance(1, 8) ? random.below(bytes->size())
                                          : header.geometry.cluster_bytes());
        for (std::uint64_t spoilt = random.below(4); spoilt > 0 && !bytes->empty(); --spoilt)
            (*bytes)[random.below(std::min<std::size_t>(bytes->size(), 200))] =
                static_cast<std::byte>(random.chance(1, 2) ? 0xff : random.below(256));
        const auto parsed = parse(*bytes);
        ++(parsed ? opened : refused);
        if (!parsed) continue;
        // What is believed is within the limits that everything else relies on.
        REQUIRE(parsed->geometry.cluster_bits >= cluster_bits_min);
        REQUIRE(parsed->geometry.cluster_bits <= cluster_bits_max);
        REQUIRE(parsed->geometry.refcount_order <= 6);
        REQUIRE(std::uint64_t{parsed->l1_entries} * 8 <= l1_bytes_max);
        REQUIRE(parsed->snapshot_count <= snapshots_max);
        REQUIRE(parsed->geometry.l1_entries_for(parsed->size) <= parsed->l1_entries);
    }
    CHECK(opened > 100);
    CHECK(refused > 100);
}

}  // namespace
}  // namespace blocklayer::qcow2
