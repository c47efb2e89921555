// SPDX-License-Identifier: Apache-2.0
// Holds:   what is compressed comes back; what does not get smaller is said so; damaged, short and
//          hostile data is an error, never more output than there is room for.
// Method:  both methods on data of several kinds, cut and spoilt at random.
#include "blocklayer/drivers/formats/qcow2/compress.hpp"

#include <algorithm>

#include "sim/rng.hpp"
#include "sim/testing/catch.hpp"

namespace blocklayer::qcow2 {
namespace {

std::vector<std::byte> pattern(std::size_t size, std::uint64_t values, std::uint64_t seed) {
    sim::RandomStream random(seed, "pattern");
    std::vector<std::byte> data(size);
    for (std::byte& byte : data) byte = static_cast<std::byte>(random.below(values));
    return data;
}

TEST_CASE("qcow2 compression: round trip", "[qcow2]") {
    const auto method = GENERATE(Compression::zlib, Compression::zstd);
    const auto size = GENERATE(512U, 4096U, 65536U);
    for (const std::uint64_t values : {1U, 2U, 16U}) {
        const std::vector<std::byte> data = pattern(size, values, 1);
        auto packed = compress(method, data, size - 1);
        REQUIRE(packed);
        CHECK(packed->size() < size - 1);
        packed->resize(packed->size() + 100, std::byte{0x5a});  // as read: whole sectors
        std::vector<std::byte> back(size);
        REQUIRE(decompress(method, *packed, back));
        CHECK(back == data);
    }
}

TEST_CASE("qcow2 compression: noise does not get smaller", "[qcow2]") {
    const auto method = GENERATE(Compression::zlib, Compression::zstd);
    const auto packed = compress(method, pattern(4096, 256, 1), 4095);
    REQUIRE_FALSE(packed);
    CHECK(packed.error() == Errno::no_memory);
}

TEST_CASE("qcow2 compression: damaged data is an error or other data", "[qcow2]") {
    const auto method = GENERATE(Compression::zlib, Compression::zstd);
    const std::vector<std::byte> data = pattern(4096, 4, 1);
    const auto packed = compress(method, data, 4095);
    REQUIRE(packed);
    std::vector<std::byte> back(4096);
    // Cut short.
    const IoStatus cut = decompress(method, std::span(*packed).first(packed->size() / 2), back);
    REQUIRE_FALSE(cut);
    CHECK(cut.error() == Errno::io);
    CHECK_FALSE(decompress(method, {}, back));
    // Fewer bytes than a cluster.
    std::vector<std::byte> longer(8192);
    CHECK_FALSE(decompress(method, *packed, longer));
    // Spoilt: whatever it says, it stays within bounds.
    sim::RandomStream random(3, "spoil");
    int failed = 0;
    for (int i = 0; i < 200; ++i) {
        std::vector<std::byte> spoilt = *packed;
        for (int j = 0; j < 3; ++j)
            spoilt[random.below(spoilt.size())] = static_cast<std::byte>(random.below(256));
        failed += !decompress(method, spoilt, back);
    }
    CHECK(failed > 0);
}

}  // namespace
}  // namespace blocklayer::qcow2
