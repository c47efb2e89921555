// SPDX-License-Identifier: Apache-2.0
// Holds:   zeroes and discards read as zeroes, keep or give back clusters as they are asked to,
//          and touch nothing outside their range; an emptied image shows its backing file.
// Method:  each kind of entry under each request; random ranges of small alignment against an
//          array.
#include "blocklayer/drivers/formats/qcow2/testing/memory_image.hpp"
#include "sim/testing/catch.hpp"

namespace blocklayer::qcow2::testing {
namespace {

constexpr std::uint64_t cluster = 4096;

void add_backing(MemoryImage& image, std::uint64_t length, int value) {
    sim::ByteImage base;
    base.write(0, std::vector<std::byte>(length, static_cast<std::byte>(value)));
    image.store.put("base.raw", std::move(base));
    image.close();
    image.backing = Value::dict({{"driver", "raw"}});
    image.backing.set("file", Value::dict({{"driver", "file"}, {"filename", "base.raw"}}));
    REQUIRE(image.open() == "");
}

TEST_CASE("qcow2 zeroes: clusters kept or given back", "[qcow2]") {
    MemoryImage image("cluster-size=4096");
    REQUIRE(image.write(0, 4 * cluster, 1));
    const std::uint64_t place = image.status(cluster).offset;
    REQUIRE(image.write_zeroes(cluster, cluster));
    CHECK(image.status(cluster).zero);
    CHECK(image.status(cluster).offset == place);
    REQUIRE(image.write_zeroes(2 * cluster, cluster, RequestFlag::may_unmap));
    CHECK(image.status(2 * cluster).zero);
    CHECK(image.status(2 * cluster).file == nullptr);
    CHECK(image.read(0, cluster) == 1);
    CHECK(image.read(cluster, 2 * cluster) == 0);
    CHECK(image.read(3 * cluster, cluster) == 1);
    image.reopen();
    CHECK(image.check().allocated_clusters == 3);
    CHECK(image.check_counts() == "0/0/0");
}

TEST_CASE("qcow2 zeroes: a part of a cluster whose rest is zero takes no data", "[qcow2]") {
    MemoryImage image("cluster-size=4096");
    const std::uint64_t before = image.medium().contents().size();
    REQUIRE(image.write_zeroes(512, 512));
    CHECK(image.status(0).zero);
    CHECK(image.medium().contents().size() <= before + 2 * cluster);  // an L2 table at most
    // Where the rest is not, the part is written.
    REQUIRE(image.write(cluster, cluster, 1));
    REQUIRE(image.write_zeroes(cluster + 512, 512));
    CHECK(image.read(cluster, 512) == 1);
    CHECK(image.read(cluster + 512, 512) == 0);
    CHECK(image.read(cluster + 1024, cluster - 1024) == 1);
}

TEST_CASE("qcow2 zeroes: compressed clusters go", "[qcow2]") {
    MemoryImage image("cluster-size=4096");
    REQUIRE(image.write(0, 2 * cluster, 1, RequestFlag::compressed));
    CHECK(image.check().compressed_clusters == 2);
    REQUIRE(image.write_zeroes(0, cluster));
    REQUIRE(image.discard(cluster, cluster));
    CHECK(image.read(0, 2 * cluster) == 0);
    image.reopen();
    CHECK(image.check().compressed_clusters == 0);
    CHECK(image.check_counts() == "0/0/0");
}

TEST_CASE("qcow2 discard: the backing file does not show", "[qcow2]") {
    MemoryImage image("cluster-size=4096");
    add_backing(image, 16 * cluster, 0xbb);
    REQUIRE(image.write(0, 2 * cluster, 1));
    REQUIRE(image.discard(0, 4 * cluster));
    CHECK(image.read(0, 4 * cluster) == 0);
    CHECK(image.read(4 * cluster, cluster) == 0xbb);
    // Less than a cluster is left alone.
    REQUIRE(image.discard(5 * cluster + 512, 512));
    CHECK(image.read(5 * cluster, cluster) == 0xbb);
    CHECK(image.check_counts() == "0/0/0");
}

TEST_CASE("qcow2 version 2: no zero clusters", "[qcow2]") {
    MemoryImage image("cluster-size=4096,version=v2");
    REQUIRE(image.write(0, 2 * cluster, 1));
    REQUIRE(image.write_zeroes(0, cluster));
    CHECK_FALSE(image.status(0).allocated);
    CHECK(image.read(0, cluster) == 0);
    add_backing(image, 16 * cluster, 0xbb);
    // Over a backing file zeroes are data, and discards do nothing.
    REQUIRE(image.write_zeroes(0, cluster));
    CHECK(image.status(0).data);
    CHECK(image.read(0, cluster) == 0);
    REQUIRE(image.discard(cluster, cluster));
    CHECK(image.read(cluster, cluster) == 1);
    image.reopen();
    CHECK(image.check_counts() == "0/0/0");
}

TEST_CASE("qcow2 make empty: everything is the backing file's again", "[qcow2]") {
    MemoryImage image("cluster-size=4096");
    add_backing(image, 64 * cluster, 0xbb);
    REQUIRE(image.write(0, 3 * cluster, 1));
    REQUIRE(image.write_zeroes(8 * cluster, cluster));
    REQUIRE(image.run([&](sim::Co& co) { return image.node->driver().make_empty(co); }));
    CHECK(image.read(0, 16 * cluster) == 0xbb);
    CHECK_FALSE(image.status(0).allocated);
    image.reopen();
    CHECK(image.check().allocated_clusters == 0);
    CHECK(image.check_counts() == "0/0/0");
    CHECK(image.read(0, 16 * cluster) == 0xbb);
}

TEST_CASE("qcow2 zeroes: like an array", "[qcow2]") {
    const std::uint64_t seed = GENERATE(1U, 2U, 3U);
    const bool over_backing = GENERATE(false, true);
    constexpr std::uint64_t sectors = 256;
    MemoryImage image("cluster-size=1024", "l2-cache-size=1024,l2-cache-entry-size=512");
    if (over_backing) add_backing(image, sectors * 512, 0xbb);
    sim::RandomStream random(seed, "zeroes");
    std::vector<int> model(sectors, over_backing ? 0xbb : 0);
    for (int i = 0; i < 150; ++i) {
        const std::uint64_t first = random.below(sectors);
        const std::uint64_t count = 1 + random.below(std::min(sectors - first, 12ul));
        const auto put = [&](std::uint64_t at, std::uint64_t n, int value) {
            std::fill_n(model.begin() + static_cast<std::ptrdiff_t>(at), n, value);
        };
        switch (random.below(4)) {
        case 0:
            REQUIRE(image.write(first * 512, count * 512, i + 1));
            put(first, count, (i + 1) & 0xff);
            break;
        case 1:
            REQUIRE(image.write_zeroes(first * 512, count * 512));
            put(first, count, 0);
            break;
        case 2:
            REQUIRE(image.write_zeroes(first * 512, count * 512, RequestFlag::may_unmap));
            put(first, count, 0);
            break;
        default:
            REQUIRE(image.discard(first * 512, count * 512));
            if (const std::uint64_t begin = (first + 1) / 2 * 2, end = (first + count) / 2 * 2;
                begin < end)
                put(begin, end - begin, 0);
        }
    }
    for (int pass = 0; pass < 2; ++pass) {
        for (std::uint64_t i = 0; i < sectors; ++i) REQUIRE(image.read(i * 512, 512) == model[i]);
        image.reopen();
    }
    CHECK(image.check_counts() == "0/0/0");
}

}  // namespace
}  // namespace blocklayer::qcow2::testing
