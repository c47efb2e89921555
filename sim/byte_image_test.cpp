// SPDX-License-Identifier: Apache-2.0
// Holds:   a ByteImage reads as a plain array would, copies never see each other's later writes,
//          and the allocation count is that of the chunks there are.
// Method:  random histories on images and on plain arrays side by side, with copies taken between.
#include "sim/byte_image.hpp"

#include <algorithm>
#include <vector>

#include "sim/rng.hpp"
#include "sim/testing/catch.hpp"

namespace sim {
namespace {

constexpr std::uint64_t chunk = ByteImage::chunk_bytes;

std::vector<std::byte> bytes_of(const ByteImage& image) {
    std::vector<std::byte> bytes(image.size());
    image.read(0, bytes);
    return bytes;
}

std::uint64_t data_bytes(const ByteImage& image) {
    std::uint64_t sum = 0;
    for (std::uint64_t at = 0; at < image.size();) {
        const auto [length, data] = image.extent(at, image.size() - at);
        if (data) sum += length;
        at += length;
    }
    return sum;
}

TEST_CASE("byte_image: histories read back as on a plain array, copies stay apart") {
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        INFO("seed " << seed);
        RandomStream random(seed, "byte_image_test");
        struct Version {
            ByteImage image;
            std::vector<std::byte> model;
        };
        std::vector<Version> versions(1);
        for (int step = 0; step < 120; ++step) {
            Version& now = versions[random.below(versions.size())];
            const std::uint64_t offset = random.below(80 * chunk);
            const std::uint64_t length = 1 + random.below(random.chance(1, 3) ? 20 * chunk : 700);
            const std::uint64_t end = offset + length;
            switch (random.below(5)) {
            case 0: {
                now.image.resize(offset);
                now.model.resize(offset);
                break;
            }
            case 1: {
                const bool keep = random.chance(1, 2);
                now.image.zero(offset, length, keep ? Backing::keep : Backing::release);
                if (now.model.size() < end) now.model.resize(end);
                std::fill_n(now.model.begin() + static_cast<std::ptrdiff_t>(offset), length,
                            std::byte{0});
                break;
            }
            case 2: {
                if (versions.size() < 6) versions.push_back(Version(now));
                break;
            }
            default: {
                std::vector<std::byte> data(length);
                for (std::byte& b : data) b = static_cast<std::byte>(random.next());
                now.image.write(offset, data);
                if (now.model.size() < end) now.model.resize(end);
                std::copy(data.begin(), data.end(),
                          now.model.begin() + static_cast<std::ptrdiff_t>(offset));
            }
            }
        }
        for (const Version& version : versions) {
            REQUIRE(bytes_of(version.image) == version.model);
            for (const Version& other : versions)
                REQUIRE((version.image == other.image) == (version.model == other.model));
        }
    }
}

TEST_CASE("byte_image: holes, kept zeroes and data are told apart") {
    ByteImage image;
    image.resize(100 * chunk);
    CHECK(image.allocated_bytes() == 0);
    CHECK(image.extent(0, 100 * chunk).length == 100 * chunk);
    const std::vector<std::byte> data(3 * chunk, std::byte{7});
    image.write(10 * chunk, data);
    CHECK(image.missing_bytes(9 * chunk, 5 * chunk) == 2 * chunk);
    image.zero(20 * chunk, 2 * chunk, Backing::keep);
    CHECK(image.allocated_bytes() == 5 * chunk);
    CHECK(data_bytes(image) == 3 * chunk);
    CHECK_FALSE(image.extent(chunk, 90 * chunk).data);
    CHECK(image.extent(chunk, 90 * chunk).length == 9 * chunk);
    CHECK(image.extent(10 * chunk + 5, 90 * chunk - 5).length == 3 * chunk - 5);

    image.zero(10 * chunk, 2 * chunk, Backing::release);
    image.zero(20 * chunk, 2 * chunk, Backing::release);
    CHECK(image.allocated_bytes() == chunk);
    image.resize(0);
    CHECK(image.allocated_bytes() == 0);
}

TEST_CASE("byte_image: the last byte a file can have") {
    ByteImage image;
    const std::byte one{1};
    image.write(ByteImage::size_max - 1, {&one, 1});
    CHECK(image.size() == ByteImage::size_max);
    CHECK(image.allocated_bytes() == chunk);
    const auto hole = image.extent(0, ByteImage::size_max);
    CHECK_FALSE(hole.data);
    CHECK(hole.length == ByteImage::size_max / chunk * chunk);
    const ByteImage copy = image;
    image.resize(1);
    CHECK(image.allocated_bytes() == 0);
    CHECK(copy.allocated_bytes() == chunk);
}

}  // namespace
}  // namespace sim
