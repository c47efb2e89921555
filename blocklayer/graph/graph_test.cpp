// SPDX-License-Identifier: Apache-2.0
// Holds:   changes of the graph are all or nothing, and permissions follow them.
// Method:  small graphs of test drivers; after each step everything is recomputed from scratch.
#include "blocklayer/graph/graph.hpp"

#include "blocklayer/graph/drain.hpp"
#include "blocklayer/testing/graph_fixture.hpp"
#include "sim/testing/catch.hpp"

namespace blocklayer {
namespace {

using testing::conflict;
using testing::GraphFixture;
using testing::perms;
using testing::TestUser;

TEST_CASE("graph: a guest on an overlay claims the whole chain", "[graph]") {
    GraphFixture f;
    Node& af = f.memory("af", 1 << 20, /*read_only=*/true);
    Node& a = f.format("a", af, nullptr, /*read_only=*/true);
    Node& bf = f.memory("bf");
    Node& b = f.format("b", bf, &a);
    CHECK(f.layer.graph().dump() ==
          "node 'a' --file--> af C / CU\n"
          "node 'b' --backing--> a - / ALL\n"
          "node 'b' --file--> bf CWR / CU\n");

    BlockBackend& guest = f.user(b, "CW", "CU", "D");
    CHECK(f.layer.graph().dump() ==
          "node 'a' --file--> af C / CU\n"
          "node 'b' --backing--> a C / CU\n"
          "node 'b' --file--> bf CWR / CU\n"
          "block device 'D' --root--> b CW / CU\n");
    f.check();

    REQUIRE(guest.set_wish({perms("CW"), PermSet::all()}));
    CHECK(f.edge(b, "backing").claim() == Claim{perms("C"), PermSet::all()});
    f.drop(guest);
    CHECK(f.edge(b, "backing").claim() == Claim{});
    f.check();
}

}  // namespace
}  // namespace blocklayer
