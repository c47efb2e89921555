// SPDX-License-Identifier: Apache-2.0
// Holds:   compressed clusters are written, shared, read back and replaced, with either method; the
//          real program reads them; data that does not get smaller is stored as it is.
// Method:  writes of several kinds; descriptors spoilt by hand; qemu-img on the result.
#include "blocklayer/drivers/formats/qcow2/testing/image_fixture.hpp"
#include "blocklayer/drivers/formats/qcow2/testing/memory_image.hpp"
#include "sim/testing/catch.hpp"

namespace blocklayer::qcow2::testing {
namespace {

constexpr std::uint64_t cluster = 4096;

TEST_CASE("qcow2 compressed: written, shared, replaced", "[qcow2]") {
    const auto options = GENERATE("cluster-size=4096", "cluster-size=4096,compression-type=zstd",
                                  "cluster-size=4096,version=v2", "cluster-size=512");
    MemoryImage image(options);
    const std::uint64_t unit = 1ull << image.number(20, 4);
    REQUIRE(image.write(0, 4 * unit, 1, RequestFlag::compressed));
    CHECK(image.check().compressed_clusters == 4);
    CHECK(image.read(0, 4 * unit) == 1);
    CHECK(image.status(unit).compressed);
    REQUIRE(image.write(unit, unit, 2));  // all of one
    REQUIRE(image.write(2 * unit, unit / 2, 3));  // a part of another
    image.reopen();
    CHECK(image.read(0, unit) == 1);
    CHECK(image.read(unit, unit) == 2);
    CHECK(image.read(2 * unit, unit / 2) == 3);
    CHECK(image.read(2 * unit + unit / 2, unit / 2) == 1);
    CHECK(image.check().compressed_clusters == 2);
    CHECK(image.check_counts() == "0/0/0");
    const TemporaryDirectory where;
    write_file(where.file("a"), image.bytes());
    const std::string read = must(
        where, fmt::format("qemu-img check -f qcow2 a && qemu-io -f qcow2 -r -c 'read -P 1 0 {0}' "
                           "-c 'read -P 2 {0} {0}' -c 'read -P 1 {1} {0}' a", unit, 3 * unit));
    CHECK(read.find("Pattern verification failed") == std::string::npos);
}

TEST_CASE("qcow2 compressed: what cannot be", "[qcow2]") {
    MemoryImage image("cluster-size=4096,size=8704");
    CHECK_FALSE(image.write(512, cluster, 1, RequestFlag::compressed));
    CHECK_FALSE(image.write(0, 512, 1, RequestFlag::compressed));
    // The last cluster may be short.
    REQUIRE(image.write(8192, 512, 1, RequestFlag::compressed));
    CHECK(image.read(8192, 512) == 1);
    // What is there already is not replaced.
    REQUIRE(image.write(0, cluster, 2));
    CHECK_FALSE(image.write(0, cluster, 3, RequestFlag::compressed));
    CHECK(image.read(0, cluster) == 2);
    image.reopen();
    CHECK(image.check().corruptions == 0);
}

TEST_CASE("qcow2 compressed: noise is stored as it is", "[qcow2]") {
    MemoryImage image("cluster-size=4096");
    sim::RandomStream random(1, "noise");
    std::vector<std::byte> noise(cluster), seen(cluster);
    for (std::byte& byte : noise) byte = static_cast<std::byte>(random.below(256));
    image.run([&](sim::Co& co) {
        REQUIRE(image.disk->write(co, 0, std::span<const std::byte>(noise),
                                  RequestFlag::compressed));
        REQUIRE(image.disk->read(co, 0, std::span(seen)));
    });
    CHECK(seen == noise);
    CHECK_FALSE(image.status(0).compressed);
    CHECK(image.check_counts() == "0/0/0");
}

TEST_CASE("qcow2 compressed: damaged data is an error", "[qcow2]") {
    MemoryImage image("cluster-size=4096");
    REQUIRE(image.write(0, 2 * cluster, 1, RequestFlag::compressed));
    image.close();
    const std::uint64_t entry = image.number(image.l2_offset());
    const std::uint64_t data = entry & ((1ull << 50) - 1);
    image.patch(data, ~0ull);
    REQUIRE(image.open() == "");
    CHECK(image.read(0, 512) == -2);
    CHECK(image.read(cluster, cluster) == 1);
    // Past the end of the file there is nothing to unpack.
    image.close();
    image.patch(image.l2_offset(), entry_compressed | 1ull << 40);
    REQUIRE(image.open() == "");
    CHECK(image.read(0, 512) == -2);
    CHECK(image.check().corruptions == 1);
}

TEST_CASE("qcow2 compressed: a write that fails leaves what was there", "[qcow2]") {
    MemoryImage image("cluster-size=4096");
    REQUIRE(image.write(0, cluster, 1, RequestFlag::compressed));
    image.medium().add_fault({sim::HostOp::write, 0, 1});
    CHECK_FALSE(image.write(cluster, cluster, 2, RequestFlag::compressed));
    image.medium().clear_faults();
    CHECK(image.read(0, cluster) == 1);
    CHECK(image.read(cluster, cluster) == 0);
    REQUIRE(image.write(cluster, cluster, 3, RequestFlag::compressed));
    image.reopen();
    CHECK(image.read(cluster, cluster) == 3);
    CHECK(image.check_counts() == "0/0/0");
}

}  // namespace
}  // namespace blocklayer::qcow2::testing
