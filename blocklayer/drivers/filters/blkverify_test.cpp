// SPDX-License-Identifier: Apache-2.0
// Holds:   blkverify writes to both nodes and ends the run at the first difference; compress asks
//          for compression and only where there is some; both pass permissions on as the reference.
// Method:  memory on both sides, one byte changed behind the filter's back.
#include "blocklayer/graph/graph.hpp"
#include "blocklayer/testing/graph_fixture.hpp"
#include "sim/check.hpp"
#include "sim/testing/catch.hpp"

namespace blocklayer {
namespace {

using testing::GraphFixture;
using testing::perms;

TEST_CASE("blkverify: both sides are written and compared", "[blkverify]") {
    GraphFixture f;
    Node& raw = f.memory("raw");
    Node& test = f.memory("test");
    Node& both = f.open(Value::dict(
        {{"driver", "blkverify"}, {"node-name", "v"}, {"raw", "raw"}, {"test", "test"}}));
    CHECK(f.edge(both, "raw").claim() == Claim{});
    CHECK(f.edge(both, "test").claim() == Claim{{}, perms("CWU")});
    BlockBackend& user = f.user(both, "CW", "CUR");
    CHECK(f.edge(both, "raw").claim() == Claim{perms("CW"), perms("CUR")});
    CHECK(f.edge(both, "test").claim() == Claim{perms("CWR"), perms("CU")});

    std::vector<std::byte> bytes(1000, std::byte{7});
    const auto read = [&](std::uint64_t offset) {
        return f.run([&](sim::Co& co) {
            return user.read(co, offset, sim::IoView(std::span(bytes)));
        });
    };
    CHECK(f.run([&](sim::Co& co) {
        return user.write(co, 100, sim::IoView(std::span(bytes)));
    }));
    CHECK(f.memory_of(raw).bytes == f.memory_of(test).bytes);
    CHECK(f.run([&](sim::Co& co) { return user.write_zeroes(co, 200, 100); }));
    CHECK(f.memory_of(raw).bytes[250] == std::byte{0});
    CHECK(f.memory_of(raw).bytes == f.memory_of(test).bytes);
    CHECK(read(0));

    f.memory_of(test).bytes[2500] = std::byte{1};
    CHECK(read(1000));
    CHECK_THROWS_WITH(read(2000), Catch::Contains("contents mismatch at offset 2500"));
}

TEST_CASE("compress: only over formats that can", "[compress]") {
    GraphFixture f;
    Node& memory = f.memory("m");
    CHECK(f.open_error(Value::dict(
                           {{"driver", "compress"}, {"node-name", "c"}, {"file", memory.name()}}))
              .text == "Compression is not supported for underlying format: test-memory");
}

}  // namespace
}  // namespace blocklayer
