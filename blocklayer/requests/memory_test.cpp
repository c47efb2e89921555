// SPDX-License-Identifier: Apache-2.0
// Holds:   where memory may fail each allocation for a request is a fault site with a stable name,
//          elsewhere none is; a failed one fails its request with ENOMEM and changes nothing.
// Method:  a schedule that strikes wherever it is asked, at most so many times.
#include "blocklayer/requests/memory.hpp"

#include "blocklayer/testing/graph_fixture.hpp"
#include "sim/testing/catch.hpp"

namespace blocklayer {
namespace {

using sim::Errno;
using sim::Unexpected;
using testing::GraphFixture;

class Striking final : public sim::Schedule {
public:
    std::uint32_t choose(std::uint32_t, sim::Label) override { return 0; }
    std::uint32_t pick(std::span<const sim::Candidate>) override { return 0; }
    std::uint32_t fault(std::uint32_t, sim::Label) override { return 1; }
};

struct ScarceMemory : GraphFixture {
    explicit ScarceMemory(bool may_fail)
        : GraphFixture({.schedule = std::make_unique<Striking>()},
                       {.limits = {.memory_may_fail = may_fail}}) {
        world.limit_faults(1);
    }
    sim::IoStatus write(std::byte value) {
        const std::vector<std::byte> data(512, value);
        return run(
            [&](sim::Co& co) { return disk.write(co, 1024, std::span<const std::byte>(data)); });
    }
    std::byte at(std::uint64_t offset) { return memory_of(node).bytes[offset]; }
    static Node& of_large_blocks(GraphFixture& f) {
        Node& node = f.memory("m");
        f.memory_of(node).given.request_alignment = 4096;
        f.layer.refresh_limits(node);
        return node;
    }
    Node& node = of_large_blocks(*this);
    BlockBackend& disk = user(node, "CW", "CWU");
};

TEST_CASE("memory: a request without memory fails and changes nothing", "[memory]") {
    ScarceMemory f(true);
    CHECK(f.write(std::byte{7}) == Unexpected(Errno::no_memory));
    CHECK(f.at(1024) == std::byte{0});
    REQUIRE(f.world.faults().size() == 1);
    CHECK(std::string_view(f.world.faults()[0].site.name()) ==
          "m: no memory for whole blocks of a write");
    CHECK(f.write(std::byte{7}));
    CHECK(f.at(1024) == std::byte{7});
    CHECK(f.at(1024 + 512) == std::byte{0});
}

TEST_CASE("memory: elsewhere there is always enough", "[memory]") {
    ScarceMemory f(false);
    CHECK(f.write(std::byte{7}));
    CHECK(f.world.faults().empty());
}

}  // namespace
}  // namespace blocklayer
