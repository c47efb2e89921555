// SPDX-License-Identifier: Apache-2.0
// Holds:   the map knows of each cluster which kinds of metadata it holds, however many there are.
// Method:  random additions and removals against a std::map.
#include "blocklayer/drivers/formats/qcow2/metadata_map.hpp"

#include <map>

#include "sim/rng.hpp"
#include "sim/testing/catch.hpp"

namespace blocklayer::qcow2 {
namespace {

TEST_CASE("qcow2 metadata map: like a map", "[qcow2]") {
    const std::uint64_t seed = GENERATE(1U, 2U, 3U);
    sim::RandomStream random(seed, "metadata map");
    MetadataMap map;
    std::map<std::uint64_t, KindMask> model;
    for (int i = 0; i < 3000; ++i) {
        const auto kind = static_cast<MetadataKind>(random.below(metadata_kinds));
        const std::uint64_t first = random.below(400) << (random.chance(1, 4) ? 40 : 0);
        const std::uint64_t count = random.below(4);
        const std::uint64_t action = random.below(20);
        if (action < 12) {
            map.add(first, count, kind);
            for (std::uint64_t j = 0; j < count; ++j) model[first + j] |= mask_of(kind);
        } else if (action < 19) {
            map.remove(first, count, kind);
            for (std::uint64_t j = 0; j < count; ++j)
                model[first + j] = static_cast<KindMask>(model[first + j] & ~mask_of(kind));
        } else {
            map.remove_all(kind);
            for (auto& [cluster, kinds] : model)
                kinds = static_cast<KindMask>(kinds & ~mask_of(kind));
        }
        const std::uint64_t any = random.below(400);
        REQUIRE(map.at(any) == (model.contains(any) ? model[any] : 0));
    }
    for (const auto& [cluster, kinds] : model) REQUIRE(map.at(cluster) == kinds);
    map.clear();
    for (const auto& [cluster, kinds] : model) REQUIRE(map.at(cluster) == 0);
}

TEST_CASE("qcow2 metadata map: what messages call the kinds", "[qcow2]") {
    CHECK(std::string(to_text(MetadataKind::header)) == "qcow2_header");
    CHECK(std::string(to_text(MetadataKind::active_l2)) == "active L2 table");
    CHECK(std::string(to_text(MetadataKind::refcount_block)) == "refcount block");
    CHECK(std::string(to_text(MetadataKind::bitmap_directory)) == "bitmap directory");
}

}  // namespace
}  // namespace blocklayer::qcow2
