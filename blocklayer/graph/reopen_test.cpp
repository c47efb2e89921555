// SPDX-License-Identifier: Apache-2.0
// Holds:   reopening changes all named nodes or none, in any order of the list; what is not
//          mentioned goes back to its default; children opened inline follow.
// Method:  small chains of test drivers; a refusal injected at each node of random lists.
#include "blocklayer/graph/reopen.hpp"

#include "blocklayer/testing/graph_fixture.hpp"
#include "sim/testing/catch.hpp"

namespace blocklayer {
namespace {

using testing::conflict;
using testing::GraphFixture;
using testing::perms;

Value options_of(const Node& node, std::initializer_list<Value::NewMember> changes) {
    Value options = node.options();
    for (const auto& [name, value] : changes) options.set(std::string(name), value);
    return options;
}

std::string reopen(GraphFixture& f, std::vector<Value> options) {
    const std::string before = f.layer.graph().dump_whole();
    const Status status =
        f.run([&](sim::Co& co) { return Reopen::reopen(co, f.layer, options); });
    f.check();
    if (status) return "ok";
    CHECK(f.layer.graph().dump_whole() == before);
    return status.error().text;
}

struct Chain {
    explicit Chain(bool read_only, GraphFixture& f)
        : af(f.memory("af", 1 << 20, read_only)), a(f.format("a", af, nullptr, read_only)) {}
    Node &af, &a;
};

TEST_CASE("reopen: read-write from the bottom up, or all in one list", "[graph][reopen]") {
    GraphFixture f;
    SECTION("read-only to read-write") {
        Chain chain(true, f);
        const Value rw_a = options_of(chain.a, {{"read-only", false}});
        const Value rw_af = options_of(chain.af, {{"read-only", false}});
        CHECK(reopen(f, {rw_a}) == "Block node is read-only");
        SECTION("step by step") {
            CHECK(reopen(f, {rw_af}) == "ok");
            CHECK(reopen(f, {rw_a}) == "ok");
        }
        SECTION("in one list") { CHECK(reopen(f, {rw_a, rw_af}) == "ok"); }
        SECTION("in the other order") { CHECK(reopen(f, {rw_af, rw_a}) == "ok"); }
        CHECK(f.edge(chain.a, "file").claim() == Claim{perms("CWR"), perms("CU")});
        CHECK(chain.a.writable());
    }
    SECTION("read-write to read-only") {
        Chain chain(false, f);
        const Value ro_a = options_of(chain.a, {{"read-only", true}});
        const Value ro_af = options_of(chain.af, {{"read-only", true}});
        CHECK(reopen(f, {ro_af}) == "Read-only block node 'af' cannot support read-write users");
        CHECK(reopen(f, {ro_af, ro_a}) == "ok");
        CHECK(f.edge(chain.a, "file").claim() == Claim{perms("C"), perms("CU")});
    }
    SECTION("not under a writer") {
        Chain chain(false, f);
        f.user(chain.a, "CW", "CUR", "D");
        CHECK(reopen(f, {options_of(chain.a, {{"read-only", true}})}) ==
              "Read-only block node 'a' cannot support read-write users");
    }
}

TEST_CASE("reopen: what is not mentioned goes back to its default", "[graph][reopen]") {
    GraphFixture f;
    Node& n = f.open(Value::dict({{"driver", "test-memory"},
                                  {"node-name", "n"},
                                  {"size", 4096},
                                  {"read-only", true},
                                  {"tag", "old"}}));
    CHECK(reopen(f, {Value::dict({{"driver", "test-memory"}, {"node-name", "n"}})}) ==
          "Option 'size' cannot be reset to its default value");
    const Value same = Value::dict({{"driver", "test-memory"}, {"node-name", "n"}, {"size", 4096}});
    CHECK(reopen(f, {same}) == "ok");  // the tag may change
    CHECK(!n.read_only());
    CHECK(n.options().find("tag") == nullptr);
    Value other_size = same;
    other_size.set("size", 8192);
    CHECK(reopen(f, {other_size}) == "Cannot change the option 'size'");
    Value forced = same;
    forced.set("read-only", true);
    forced.set("force-share", true);
    CHECK(reopen(f, {forced}) == "Cannot change the option 'force-share'");
    Value driver = same;
    driver.set("driver", "test-filter");
    CHECK(reopen(f, {driver}) == "Cannot change the option 'driver'");
    Value unknown = same;
    unknown.set("node-name", "m");
    CHECK(reopen(f, {unknown}) == "Failed to find node with node-name='m'");
    unknown.erase("node-name");
    CHECK(reopen(f, {unknown}) == "node-name not specified");
}

TEST_CASE("reopen: an inline child follows what its parent's options name", "[graph][reopen]") {
    GraphFixture f;
    Node& top = f.open(Value::dict(
        {{"driver", "test-format"},
         {"node-name", "top"},
         {"read-only", true},
         {"file", Value::dict({{"driver", "test-memory"}, {"node-name", "file"}})}}));
    const Node& file = *f.layer.find_node("file");
    REQUIRE(file.read_only());
    Value options =
        Value::dict({{"driver", "test-format"}, {"node-name", "top"}, {"file", "file"}});
    CHECK(reopen(f, {options}) == "Block node is read-only");  // not named: the child stays
    options.set("read-only", false);
    CHECK(reopen(f, {options}) == "ok");
    CHECK(!file.read_only());

    const auto set = [&](bool read_only) {
        REQUIRE(f.run([&](sim::Co& co) { return Reopen::set_read_only(co, top, read_only); }));
        CHECK(top.read_only() == read_only);
        CHECK(file.read_only() == read_only);
        f.check();
    };
    set(true);
    set(false);
}

TEST_CASE("reopen: another backing file, or none, in the same judgement", "[graph][reopen]") {
    GraphFixture f;
    Node& a = f.memory("a");
    Node& b = f.memory("b");
    Node& file = f.memory("file");
    Node& top = f.format("top", file, &a);
    f.user(top, "CW", "CU", "D");
    Value without = top.options();
    without.erase("backing");
    CHECK(reopen(f, {without}) == "backing is missing for 'top'");
    CHECK(reopen(f, {options_of(top, {{"backing", "b"}})}) == "ok");
    CHECK(&f.edge(top, "backing").child() == &b);
    CHECK(reopen(f, {options_of(top, {{"backing", "top"}})}) ==
          "Making 'top' a backing child of 'top' would create a cycle");
    CHECK(reopen(f, {options_of(top, {{"backing", "nobody"}})}) ==
          "Cannot find device='' nor node-name='nobody'");
    f.user(a, "W", "ALL", "E");
    CHECK(reopen(f, {options_of(top, {{"backing", "a"}})}) ==
          conflict("a", "write", "block device 'E'", "root", "node 'top'", "backing"));
    f.layer.graph().set_frozen(f.edge(top, "backing"), true);
    CHECK(reopen(f, {options_of(top, {{"backing", nullptr}})}) ==
          "Cannot change frozen 'backing' link from 'top' to 'b'");
    f.layer.graph().set_frozen(f.edge(top, "backing"), false);
    CHECK(reopen(f, {options_of(top, {{"backing", nullptr}})}) == "ok");
    CHECK(b.parents().empty());
}

TEST_CASE("reopen: a refusal by any node of a list changes none", "[graph][reopen]") {
    for (int refusing = 0; refusing < 4; ++refusing) {
        GraphFixture f;
        std::vector<Node*> nodes;
        std::vector<Value> list;
        for (int i = 0; i < 4; ++i) {
            nodes.push_back(&f.memory(fmt::format("n{}", i)));
            list.push_back(options_of(*nodes.back(), {{"read-only", true}}));
        }
        testing::MemoryDriver& driver = f.memory_of(*nodes[refusing]);
        driver.refuse_reopen = true;
        CHECK(reopen(f, list) == "the driver says no");
        for (int i = 0; i < 4; ++i) {
            CHECK(!nodes[i]->read_only());
            const auto& hooks = f.memory_of(*nodes[i]).hooks;
            const auto count = [&](const char* hook) {
                return std::count(hooks.begin(), hooks.end(), hook);
            };
            CHECK(count("reopen prepare") == (i <= refusing ? 1 : 0));
            CHECK(count("reopen abort") == (i < refusing ? 1 : 0));
            CHECK(count("reopen commit") == 0);
        }
        driver.refuse_reopen = false;
        CHECK(reopen(f, list) == "ok");
        for (const Node* node : nodes) CHECK(node->read_only());
    }
}

}  // namespace
}  // namespace blocklayer
