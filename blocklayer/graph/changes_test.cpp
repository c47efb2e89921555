// SPDX-License-Identifier: Apache-2.0
// Holds:   the changes commands and jobs ask for end as drawn, or are refused without a trace.
// Method:  small graphs, each change compared as text.
#include "blocklayer/graph/drain.hpp"
#include "blocklayer/graph/graph.hpp"
#include "blocklayer/testing/graph_fixture.hpp"
#include "sim/testing/catch.hpp"

namespace blocklayer {
namespace {

using testing::conflict;
using testing::GraphFixture;
using testing::perms;
using testing::TestUser;

std::string text_of(const Status& status) { return status ? "ok" : status.error().text; }

TEST_CASE("changes: a node cannot stand on itself", "[graph][changes]") {
    GraphFixture f;
    Node& a = f.memory("a");
    Node& b = f.format("b", a);
    Node& c = f.format("c", b, nullptr, /*read_only=*/true);
    Graph& graph = f.layer.graph();
    const std::string before = graph.dump_whole();
    const auto refused = graph.attach_child(a, c, "file", Role::data);
    REQUIRE(!refused);
    CHECK(refused.error().text == "Making 'c' a file child of 'a' would create a cycle");
    CHECK(!graph.attach_child(a, a, "file", Role::data));
    CHECK(graph.dump_whole() == before);
    CHECK(graph.reaches(c, a));
    CHECK(!graph.reaches(a, c));
}

TEST_CASE("changes: a visitor is told what stands in the way, or settles what is overdue",
          "[graph][changes]") {
    GraphFixture f;
    Node& host = f.memory("host");
    Node& calm = f.filter("calm", host);
    Graph& graph = f.layer.graph();
    const std::string before = graph.dump_whole();
    CHECK(graph.visit(calm));
    CHECK(graph.dump_whole() == before);

    BlockBackend& guest = f.user(calm, "CW", "CU", "D");
    f.memory_of(host).refuse_all = true;
    f.drop(guest);
    const std::string overdue = graph.dump_whole();
    REQUIRE(overdue != before);
    CHECK(text_of(graph.visit(calm)) == "the host says no");
    CHECK(graph.dump_whole() == overdue);
    f.memory_of(host).refuse_all = false;
    CHECK(graph.visit(calm));
    CHECK(graph.dump_whole() == before);
    f.check();
}

TEST_CASE("changes: replacing a node moves its users", "[graph][changes]") {
    GraphFixture f;
    Node& from = f.memory("from");
    Node& to = f.memory("to");
    Graph& graph = f.layer.graph();
    f.user(from, "CW", "CU", "D");
    SECTION("but not a job's edges") {
        TestUser job("mirror job 'm'");
        Edge* edge = *graph.attach_root(job, from, "source", EdgeClass::job, {});
        REQUIRE(graph.replace_node(from, to));
        CHECK(graph.dump() ==
              "mirror job 'm' --source--> from - / ALL\n"
              "block device 'D' --root--> to CW / CU\n");
        CHECK(text_of(graph.replace_node(from, to, Strict::yes)) ==
              "Should not change 'source' link to 'from'");
        graph.detach(*edge);
    }
    SECTION("nor those the new node stands on") {
        Node& over = f.filter("over", from);
        REQUIRE(graph.replace_node(from, over));
        CHECK(graph.dump() ==
              "node 'over' --file--> from CW / CU\n"
              "block device 'D' --root--> over CW / CU\n");
    }
    SECTION("unless one is frozen or somebody does not agree") {
        Node& overlay = f.format("overlay", f.memory("file"), &from);
        graph.set_frozen(f.edge(overlay, "backing"), true);
        std::string before = graph.dump_whole();
        CHECK(text_of(graph.replace_node(from, to)) == "Cannot change 'backing' link to 'from'");
        CHECK(graph.dump_whole() == before);
        graph.set_frozen(f.edge(overlay, "backing"), false);
        f.user(to, "", "CU", "E");
        before = graph.dump_whole();
        CHECK(text_of(graph.replace_node(from, to)) ==
              conflict("to", "write", "block device 'D'", "root", "block device 'E'", "root"));
        CHECK(graph.dump_whole() == before);
    }
    f.check();
}

TEST_CASE("changes: a filter goes in between and comes out again", "[graph][changes]") {
    GraphFixture f;
    Node& n = f.memory("n");
    Graph& graph = f.layer.graph();
    f.user(n, "CW", "CU", "D");
    const std::string before = graph.dump();
    Node& top = f.memory("top");
    REQUIRE(graph.append(top, n, "file", Role::filtered));
    CHECK(graph.dump() ==
          "node 'top' --file--> n CW / CU\n"
          "block device 'D' --root--> top CW / CU\n");
    SECTION("as it was") {
        REQUIRE(graph.drop_filter(top));
        CHECK(graph.dump() == before);
        CHECK(top.children().empty());
    }
    SECTION("not while its edge is frozen") {
        graph.set_frozen(f.edge(top, "file"), true);
        const std::string whole = graph.dump_whole();
        CHECK(text_of(graph.drop_filter(top)) == "Cannot change 'file' link to 'n'");
        CHECK(graph.dump_whole() == whole);
        graph.set_frozen(f.edge(top, "file"), false);
    }
    f.check();
}

TEST_CASE("changes: append is one change, judged when the users have moved", "[graph][changes]") {
    // The newcomer withholds W from others: only after D has moved on top of it is D no other.
    GraphFixture f;
    Node& n = f.memory("n");
    f.user(n, "CW", "CUR", "D");
    Node& other = f.memory("other");
    Node& strict = f.filter("strict", other, "", "WR");
    f.layer.graph().detach(f.edge(strict, "file"));
    REQUIRE(f.layer.graph().append(strict, n, "file", Role::filtered));
    CHECK(f.layer.graph().dump() ==
          "node 'strict' --file--> n CW / CU\n"
          "block device 'D' --root--> strict CW / CUR\n");
    f.check();
}

TEST_CASE("changes: another child for a node", "[graph][changes]") {
    GraphFixture f;
    Node& a = f.memory("a");
    Node& b = f.memory("b");
    Node& top = f.format("top", f.memory("file"), &a);
    f.user(top, "CW", "CU", "D");
    Graph& graph = f.layer.graph();
    REQUIRE(graph.set_child(top, "backing", Role::cow, &b));
    CHECK(f.edge(top, "backing").child().name() == "b");
    CHECK(a.parents().empty());
    CHECK(a.op_blockers().empty());
    REQUIRE(b.op_blockers().size() == 1);
    CHECK(b.op_blockers().front().reason == "node is used as backing hd of 'top'");
    REQUIRE(graph.set_child(top, "backing", Role::cow, &b));  // nothing to do

    graph.set_frozen(f.edge(top, "backing"), true);
    const std::string before = graph.dump_whole();
    CHECK(text_of(graph.set_child(top, "backing", Role::cow, nullptr)) ==
          "Cannot change frozen 'backing' link from 'top' to 'b'");
    CHECK(graph.dump_whole() == before);
    graph.set_frozen(f.edge(top, "backing"), false);

    f.user(a, "W", "ALL", "E");
    CHECK(text_of(graph.set_child(top, "backing", Role::cow, &a)) ==
          conflict("a", "write", "block device 'E'", "root", "node 'top'", "backing"));
    CHECK(graph.dump_whole().find("top' --backing--> b C / CU") != std::string::npos);
    REQUIRE(graph.set_child(top, "backing", Role::cow, nullptr));
    CHECK(top.backing() == nullptr);
    CHECK(b.op_blockers().empty());
    f.check();
}

TEST_CASE("changes: giving something up never fails", "[graph][changes]") {
    GraphFixture f;
    Node& host = f.memory("host");
    Node& top = f.filter("top", host);
    BlockBackend& guest = f.user(top, "CW", "CU", "D");
    testing::MemoryDriver& driver = f.memory_of(host);
    driver.refuse_all = true;
    REQUIRE(guest.set_wish({perms("C"), PermSet::all()}));
    CHECK(guest.root()->claim() == Claim{perms("CW"), perms("CU")});  // the stricter one stays
    f.check();
    f.drop(guest);  // the edge is gone all the same, what is below keeps what it had
    CHECK(top.parents().empty());
    CHECK(f.edge(top, "file").claim() == Claim{perms("CW"), perms("CU")});
    f.check();
    driver.refuse_all = false;
    REQUIRE(f.layer.graph().refresh(top));
    CHECK(f.edge(top, "file").claim() == Claim{});
    f.check();
}

TEST_CASE("changes: frozen chains", "[graph][freeze]") {
    GraphFixture f;
    Node& base = f.memory("base");
    Node& mid = f.format("mid", f.memory("midf"), &base, /*read_only=*/true);
    Node& filter = f.filter("filter", mid);
    Node& top = f.format("top", f.memory("topf"), &filter);
    Graph& graph = f.layer.graph();
    const auto frozen = [&] {
        std::string names;
        for (Node* node : {&top, &filter, &mid})
            for (const Edge* edge : node->children())
                if (edge->frozen()) names += node->name() + ":" + edge->name() + " ";
        return names;
    };
    SECTION("from top to above the base, over filters, not over files") {
        REQUIRE(graph.freeze_chain(top, &mid));
        CHECK(frozen() == "top:backing filter:file ");
        graph.unfreeze_chain(top, &mid);
        REQUIRE(graph.freeze_chain(top, nullptr));
        CHECK(frozen() == "top:backing filter:file mid:backing ");
        graph.unfreeze_chain(top, nullptr);
        CHECK(frozen() == "");
    }
    SECTION("two jobs cannot freeze one edge, and the second freezes nothing") {
        REQUIRE(graph.freeze_chain(mid, &base));
        CHECK(text_of(graph.freeze_chain(top, &base)) ==
              "Cannot change 'backing' link from 'mid' to 'base'");
        CHECK(frozen() == "mid:backing ");
        graph.unfreeze_chain(mid, &base);
    }
    SECTION("a job's own filter must not be frozen by others") {
        graph.set_never_freeze(filter);
        CHECK(text_of(graph.freeze_chain(top, nullptr)) ==
              "Cannot freeze 'backing' link to 'filter'");
        CHECK(frozen() == "");
        REQUIRE(graph.freeze_chain(filter, nullptr));  // below it all is as ever
        graph.unfreeze_chain(filter, nullptr);
    }
}

TEST_CASE("changes: with 2.9's wording the newcomer is told of the user it meets",
          "[graph][changes]") {
    GraphFixture f(1, LayerOptions{.compat = Compat::v2_9});
    Node& n = f.memory("n");
    f.user(n, "CW", "CUR", "D1");
    CHECK(f.try_attach(n, "CW", "CUR", "D2") ==
          "Conflicts with use by D1 as 'root', which does not allow 'write' on n");
    CHECK(f.try_attach(n, "C", "CU", "D2") ==
          "Conflicts with use by D1 as 'root', which uses 'write' on n");
    CHECK(f.open_error(Value::dict(
                           {{"driver", "test-format"}, {"node-name", "q"}, {"file", "n"}}))
              .text == "Conflicts with use by D1 as 'root', which does not allow 'write' on n");
}

TEST_CASE("changes: a refusal tells programs what it tells people", "[graph][changes]") {
    GraphFixture f;
    Node& n = f.memory("n");
    f.user(n, "CW", "CUR", "D1");
    const Result<BlockBackend*> refused = f.attach(n, "CWR", "CUR", "D2");
    REQUIRE(!refused);
    REQUIRE(refused.error().refusal != nullptr);
    CHECK(*refused.error().refusal == Refusal{.node = "n",
                                              .permissions = perms("W"),
                                              .requires_them = {"block device 'D1'", "root"},
                                              .unshares_them = {"block device 'D2'", "root"}});
}

}  // namespace
}  // namespace blocklayer
