// SPDX-License-Identifier: Apache-2.0
// Holds:   who relies on the graph around a node withholds exactly the operations that would pull
//          it away; refusals name the operation and the holder; holds end with their edges.
// Method:  every operation asked of nodes under each kind of holder.
#include "blocklayer/graph/graph_mod.hpp"

#include "blocklayer/graph/graph.hpp"
#include "blocklayer/testing/graph_fixture.hpp"
#include "sim/testing/catch.hpp"

namespace blocklayer {
namespace {

using testing::GraphFixture;
using testing::TestUser;

std::uint32_t refused_operations(const Node& node) {
    std::uint32_t refused = 0;
    for (unsigned bit = 0; bit < 16; ++bit) {
        const Status status = check_graph_mod(node, 1u << bit);
        if (status) continue;
        refused |= 1u << bit;
        REQUIRE(status.error().refusal != nullptr);
        CHECK(status.error().refusal->graph_mod == operation_name(1u << bit));
        CHECK(status.error().refusal->node == node.name());
        CHECK(status.error().refusal->permissions.empty());
    }
    return refused;
}

TEST_CASE("graph-mod: an overlay holds its backing image", "[graph][graph_mod]") {
    GraphFixture f;
    Node& base = f.memory("base");
    Node& file = f.memory("file");
    Node& top = f.format("top", file, &base);
    CHECK(refused_operations(top) == 0);
    CHECK(refused_operations(file) == 0);
    CHECK(refused_operations(base) ==
          (op_all & ~(op_commit_target | op_stream | op_backup_source | op_backup_target)));
    const Status status = check_graph_mod(base, op_mirror_source);
    REQUIRE(!status);
    CHECK(status.error().text == "Node 'base' is busy: node is used as backing hd of 'top'");
    CHECK(status.error().refusal->unshares_them == Party{"node 'top'", "backing"});
    CHECK(status.error().refusal->requires_them == Party{"mirror-source", ""});
    CHECK(*f.layer.blocked(base, op_resize) == "node is used as backing hd of 'top'");

    REQUIRE(f.layer.graph().set_child(top, "backing", Role::cow, nullptr));
    CHECK(refused_operations(base) == 0);
}

TEST_CASE("graph-mod: of several holds the newest answers", "[graph][graph_mod]") {
    GraphFixture f;
    Node& n = f.memory("n");
    TestUser job("stream job 's'");
    Edge* edge = *f.layer.graph().attach_root(job, n, "main node", EdgeClass::job, {});
    n.op_blockers().push_back({op_all & ~op_dataplane, "older", edge});
    n.op_blockers().push_back({op_replace, "newer", &f});
    CHECK(refused_operations(n) == (op_all & ~op_dataplane));
    const Status replace = check_graph_mod(n, op_replace), resize = check_graph_mod(n, op_resize);
    CHECK(replace.error().text == "Node 'n' is busy: newer");
    CHECK(replace.error().refusal->unshares_them == Party{"newer", ""});
    CHECK(resize.error().text == "Node 'n' is busy: older");
    CHECK(resize.error().refusal->unshares_them == Party{"stream job 's'", "main node"});
    n.op_blockers().clear();
    f.layer.graph().detach(*edge);
}

TEST_CASE("graph-mod: a frozen edge leads where it leads", "[graph][graph_mod]") {
    GraphFixture f;
    Node& base = f.memory("base");
    Node& other = f.memory("other");
    Node& top = f.format("top", f.memory("file"), &base);
    Graph& graph = f.layer.graph();
    REQUIRE(graph.freeze_chain(top, &base));
    const Status attempts[] = {graph.set_child(top, "backing", Role::cow, &other),
                               graph.set_child(top, "backing", Role::cow, nullptr),
                               graph.replace_node(base, other), graph.freeze_chain(top, &base)};
    for (const Status& attempt : attempts) {
        REQUIRE(!attempt);
        REQUIRE(attempt.error().refusal != nullptr);
        CHECK(attempt.error().refusal->graph_mod == "re-point");
        CHECK(attempt.error().refusal->node == "base");
        CHECK(attempt.error().refusal->requires_them == Party{"node 'top'", "backing"});
        CHECK(attempt.error().refusal->unshares_them == Party{"node 'top'", ""});
    }
    graph.unfreeze_chain(top, &base);
    CHECK(graph.set_child(top, "backing", Role::cow, &other));
}

}  // namespace
}  // namespace blocklayer
