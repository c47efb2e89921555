// SPDX-License-Identifier: Apache-2.0
// Holds:   wherever the power is cut, an image keeps every flushed byte and has nothing wrong with
// it
//          beyond leaked clusters; and an image that has is found out.
// Method:  a slice of the workloads of every configuration; expectations that are wrong on purpose,
//          and subsets of a small cache walked fully.
#include "blocklayer/drivers/formats/qcow2/crash/explorer.hpp"

#include "blocklayer/drivers/formats/qcow2/format.hpp"
#include "blocklayer/graph/backend.hpp"
#include "sim/testing/catch.hpp"

namespace blocklayer::qcow2::crash {
namespace {

std::vector<const Operation*> named(std::initializer_list<std::string_view> names) {
    std::vector<const Operation*> workload;
    for (const std::string_view name : names)
        for (const Operation& operation : operations())
            if (operation.name == name) workload.push_back(&operation);
    REQUIRE(workload.size() == names.size());
    return workload;
}

std::string text_of(const Explorer& explorer) {
    std::string text;
    for (const Failure& failure : explorer.failures())
        text += fmt::format("{} moment {} kept {}: {}\n", failure.operations, failure.moment,
                            failure.kept, failure.what);
    return text;
}

TEST_CASE("crash states: nothing is lost and nothing breaks", "[qcow2][crash]") {
    const Configuration& configuration =
        GENERATE(from_range(configurations().begin(), configurations().end()));
    INFO(configuration.name);
    Explorer explorer(configuration, {.pieces_max = 5, .writes_max = 4, .random_states = 4});
    explorer.explore(named({"write-across-tables", "flush", "unmap"}));
    explorer.explore(named({"unmap", "write-new-table", "flush"}));
    explorer.explore(named({"unmap", "write", "discard"}));
    explorer.explore(named({"write-compressed", "write-compressed-2", "discard-compressed"}));
    CHECK(text_of(explorer) == "");
    CHECK(explorer.counts().workloads == 4);
    CHECK(explorer.counts().distinct > 30);
    CHECK(explorer.counts().distinct <= explorer.counts().states);
    CHECK(explorer.counts().continued > 0);
}

TEST_CASE("crash states: every configuration begins with a sound image", "[qcow2][crash]") {
    const Configuration& configuration =
        GENERATE(from_range(configurations().begin(), configurations().end()));
    INFO(configuration.name);
    Explorer explorer(configuration);
    CHECK(explorer.judge(explorer.first_contents(), explorer.first_expected()) == "");
    CHECK(explorer.counts().leaking == 0);
    const bool shared = read_be<std::uint32_t>(explorer.first_contents().data() + 60) == 1;
    CHECK(shared == configuration.snapshot);
}

TEST_CASE("crash states: a flushed byte that is gone is found", "[qcow2][crash]") {
    Expectation expected(4);
    expected.may_become(1, 2, tag_operation);
    CHECK(expected.allows(1, tag_zero));
    CHECK(expected.allows(1, tag_operation));
    CHECK_FALSE(expected.allows(3, tag_operation));
    const std::uint64_t before = expected.hash();
    expected.is_now(1, tag_operation);
    CHECK(expected.hash() == before);  // nothing else is allowed before a flush
    expected.flushed();
    CHECK(expected.hash() != before);
    CHECK_FALSE(expected.allows(1, tag_zero));
    CHECK(expected.allows(2, tag_zero));
    CHECK_FALSE(expected.allows(2, tag_operation));
    CHECK_FALSE(expected.allows(4, tag_zero));  // past the end
    CHECK_FALSE(expected.allows(0, tags_max));  // nobody's

    expected.may_have_size(8);
    CHECK((expected.allows_size(4) && expected.allows_size(8) && expected.size() == 4));
    expected.has_size(8);
    expected.flushed();
    CHECK_FALSE(expected.allows_size(4));
}

TEST_CASE("crash states: an image with something wrong is found", "[qcow2][crash]") {
    Explorer explorer(configurations().front());
    const std::vector<std::byte> sound = explorer.first_contents();
    CHECK(explorer.judge(sound, explorer.first_expected()) == "");

    Expectation other = explorer.first_expected();
    other.is_now(0, tag_operation);
    other.flushed();
    CHECK(explorer.judge(sound, other) == fmt::format("sector 0 reads as {}", unsigned{tag_first}));
    other.has_size(8);
    other.flushed();
    CHECK(explorer.judge(sound, other).find("sectors long") != std::string::npos);

    std::vector<std::byte> damaged = sound;
    const std::size_t refcounts = 2 * 512;  // of header, refcount table, this block, ...
    damaged[refcounts + 1] = std::byte{0};
    CHECK(explorer.judge(damaged, explorer.first_expected()) ==
          "check finds damage; ERROR cluster 0 refcount=0 reference=1");
    damaged = sound;
    damaged[refcounts + 1] = std::byte{2};  // a leak
    CHECK(explorer.judge(damaged, explorer.first_expected()) == "");
    CHECK(explorer.counts().leaking == 1);
    damaged[0] = std::byte{0};
    CHECK(explorer.judge(damaged, explorer.first_expected()) ==
          "cannot be opened: Image is not in qcow2 format");
}

TEST_CASE("crash states: a sector is its own or nobody's", "[qcow2][crash]") {
    std::vector<std::byte> sector(sector_bytes);
    CHECK(tag_of(sector, 7) == tag_zero);
    fill_sector(sector, 7, tag_first);
    CHECK(tag_of(sector, 7) == tag_first);
    CHECK(tag_of(sector, 8) == tags_max);  // elsewhere
    sector[300] ^= std::byte{1};           // torn
    CHECK(tag_of(sector, 7) == tags_max);
}

TEST_CASE("crash states: workloads are all there is, each once", "[qcow2][crash]") {
    const std::uint64_t pairs = workloads_of(2);
    std::set<std::vector<const Operation*>> seen;
    for (std::uint64_t i = 0; i < pairs; ++i) seen.insert(workload_of(i, 2));
    CHECK(seen.size() == operations().size() * operations().size());
    CHECK(pairs == seen.size());
}

}  // namespace
}  // namespace blocklayer::qcow2::crash
