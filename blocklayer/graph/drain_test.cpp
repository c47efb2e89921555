// SPDX-License-Identifier: Apache-2.0
// Holds:   between begin and end of a drained section no request is in flight on the node, and none
//          is sent; requests that come meanwhile wait and are served afterwards; counters balance
//          whatever happens to the graph inside.
// Method:  requests held up in a test driver; random sections over random changes of the graph.
#include "blocklayer/graph/drain.hpp"

#include "blocklayer/testing/graph_fixture.hpp"
#include "sim/testing/catch.hpp"

namespace blocklayer {
namespace {

using testing::GraphFixture;
using testing::perms;
using testing::TestUser;

// Reads from a backend in a fiber of its own; the driver holds it up until told otherwise.
class HeldRead {
public:
    HeldRead(GraphFixture& f, Node& medium) : f_(f) {
        f.memory_of(medium).before = [this](sim::Co& co, const testing::DriverCall&) {
            ++arrived;
            while (!released_) gate_.wait(co);
        };
    }
    void start(BlockBackend& backend) {
        f_.world.spawn(f_.world.main_thread(), "held read", [this, &backend](sim::Co& co) {
            std::vector<std::byte> data(512);
            CHECK(backend.read(co, 0, sim::IoView(std::span(data))).has_value());
            ++done;
        });
    }
    void release() {
        released_ = true;
        gate_.wake_all();
    }
    int arrived = 0, done = 0;

private:
    GraphFixture& f_;
    sim::WaitQueue gate_{"held read"};
    bool released_ = false;
};

TEST_CASE("drain: waits for what is in flight and holds back what comes", "[graph][drain]") {
    GraphFixture f;
    Node& n = f.memory("n");
    Node& top = f.filter("top", n);
    BlockBackend& guest = f.user(top, "C", "ALL", "D");
    HeldRead read(f, n);
    bool drained = false;
    f.run([&](sim::Co& co) {
        read.start(guest);
        co.yield("let it start");
        REQUIRE(n.in_flight() == 1);
        CHECK(Drain::busy(n));
        f.world.spawn(f.world.main_thread(), "drainer", [&](sim::Co& inner) {
            Drain::begin(inner, n);
            drained = true;
        });
        for (int i = 0; i < 5; ++i) co.yield("drainer waits");
        CHECK(!drained);
        CHECK((n.drained() && top.drained()));  // upwards
        read.release();
        while (!drained) co.yield("drain");
        CHECK(read.done == 1);
        CHECK(!Drain::busy(n));

        read.start(guest);  // comes too late
        for (int i = 0; i < 5; ++i) co.yield("second read waits");
        CHECK(read.arrived == 1);
        CHECK(guest.in_flight() == 0);
        CHECK(n.in_flight() == 0);
        f.check();
        Drain::end(n);
        while (read.done < 2) co.yield("second read");
    });
    CHECK(read.arrived == 2);
    f.check();
}

TEST_CASE("drain: a section reaches users, not siblings below", "[graph][drain]") {
    GraphFixture f;
    Node& base = f.memory("base");
    Node& file = f.memory("file");
    Node& top = f.format("top", file, &base);
    TestUser user("a user"), job("a job");
    Edge* root = *f.layer.graph().attach_root(user, top, "root", EdgeClass::root, {});
    Edge* held = *f.layer.graph().attach_root(job, base, "base", EdgeClass::job, {});
    f.run([&](sim::Co& co) {
        const DrainedSection section(co, base);
        CHECK(user.drains == 1);
        CHECK(job.drains == 1);
        CHECK(top.drained());
        CHECK(!file.drained());  // top sends nothing, but file's other users might
        f.check();
        const DrainedSection again(co, std::vector<Node*>{&top, &base});
        CHECK(user.drains == 1);
        f.check();
    });
    CHECK(user.drains == 0);
    CHECK(job.drains == 0);
    CHECK(!top.drained());
    f.layer.graph().detach(*root);
    f.layer.graph().detach(*held);
}

TEST_CASE("drain: users follow when the graph changes inside", "[graph][drain]") {
    GraphFixture f;
    Node& a = f.memory("a");
    Node& b = f.memory("b");
    TestUser user("a user");
    Graph& graph = f.layer.graph();
    Edge* root = *graph.attach_root(user, a, "root", EdgeClass::root, {});
    f.run([&](sim::Co& co) {
        Drain::begin(co, a);
        SECTION("moved away, it may go on") {
            REQUIRE(graph.replace_node(a, b));
            CHECK(user.drains == 0);
        }
        SECTION("moved from drained to drained, it is drained once") {
            Drain::begin(co, b);
            REQUIRE(graph.replace_node(a, b));
            CHECK(user.drains == 1);
            Drain::end(b);
            CHECK(user.drains == 0);
        }
        SECTION("attached, it is told; detached, it may go on") {
            TestUser late("late");
            Edge* edge = *graph.attach_root(late, a, "root", EdgeClass::root, {});
            CHECK(late.drains == 1);
            f.check();
            graph.detach(*edge);
            CHECK(late.drains == 0);
        }
        SECTION("of a transaction that is broken off nothing stays") {
            {
                Transaction tx;
                graph.move(tx, *root, b);
                REQUIRE(graph.attach(tx, b, a, "file", EdgeClass::node, Role::data, {}));
                CHECK(b.drained());
            }
            CHECK(user.drains == 1);
            CHECK(!b.drained());
        }
        f.check();
        Drain::end(a);
    });
    CHECK(user.drains == 0);
    f.check();
    graph.detach(*root);
}

TEST_CASE("drain: who comes to a drained node while busy is waited for", "[graph][drain]") {
    // A filter with a request under way is put above a drained node: only after settle() is the
    // section true of it as well.
    GraphFixture f;
    Node& drained = f.memory("drained");
    Node& top = f.memory("top");
    BlockBackend& guest = f.user(top, "C", "ALL", "D");
    HeldRead read(f, top);
    f.run([&](sim::Co& co) {
        Drain::begin(co, drained);
        read.start(guest);
        co.yield("let it start");
        REQUIRE(top.in_flight() == 1);
        REQUIRE(f.layer.graph().append(top, drained, "backing", Role::cow));
        CHECK(top.drained());
        CHECK(Drain::busy(drained));
        bool settled = false;
        f.world.spawn(f.world.main_thread(), "settle", [&](sim::Co& inner) {
            Drain::settle(inner, drained);
            settled = true;
        });
        for (int i = 0; i < 5; ++i) co.yield("settle waits");
        CHECK(!settled);
        read.release();
        while (!settled) co.yield("settle");
        CHECK(read.done == 1);
        CHECK(!Drain::busy(drained));
        Drain::end(drained);
    });
    f.check();
}

TEST_CASE("drain: a device says itself when it is idle", "[graph][drain]") {
    GraphFixture f;
    Node& n = f.memory("n");
    auto backend = BlockBackend::make(f.layer, {});
    int begun = 0, ended = 0;
    bool busy = true;
    REQUIRE(backend->attach_device("D", "/machine/D",
                                   {.drained_begin = [&] { ++begun; },
                                    .drained_end = [&] { ++ended; },
                                    .drained_poll = [&] { return busy; }}));
    REQUIRE(backend->insert(n));
    f.run([&](sim::Co& co) {
        bool drained = false;
        f.world.spawn(f.world.main_thread(), "drainer", [&](sim::Co& inner) {
            const DrainedSection section(inner, n);
            drained = true;
        });
        for (int i = 0; i < 5; ++i) co.yield("the device is busy");
        CHECK(begun == 1);
        CHECK(!drained);
        busy = false;
        Drain::kick(f.layer);
        while (!drained) co.yield("drain");
    });
    CHECK(begun == 1);
    CHECK(ended == 1);
}

TEST_CASE("drain: counters balance over random changes", "[graph][drain]") {
    for (std::uint64_t seed = 1; seed <= 40; ++seed) {
        INFO("seed " << seed);
        GraphFixture f(seed);
        sim::RandomStream random(seed, "drain test");
        std::vector<Node*> nodes;
        for (int i = 0; i < 4; ++i) nodes.push_back(&f.memory(fmt::format("m{}", i)));
        for (int i = 0; i < 3; ++i)
            nodes.push_back(
                &f.filter(fmt::format("f{}", i), *nodes[random.below(nodes.size())]));
        std::vector<std::unique_ptr<TestUser>> users;
        std::vector<Edge*> edges;
        Graph& graph = f.layer.graph();
        for (int i = 0; i < 3; ++i) {
            users.push_back(std::make_unique<TestUser>(fmt::format("user {}", i)));
            edges.push_back(*graph.attach_root(*users.back(), *nodes[random.below(nodes.size())],
                                               "root", EdgeClass::root, {}));
        }
        std::vector<Node*> sections;
        f.run([&](sim::Co& co) {
            for (int step = 0; step < 60; ++step) {
                INFO("step " << step);
                Node &one = *nodes[random.below(nodes.size())],
                     &other = *nodes[random.below(nodes.size())];
                switch (random.below(5)) {
                case 0:
                    Drain::begin(co, one);
                    sections.push_back(&one);
                    break;
                case 1:
                    if (!sections.empty()) {
                        Drain::end(*sections.back());
                        sections.pop_back();
                    }
                    break;
                case 2:
                    if (&one != &other) (void)graph.replace_node(one, other);  // may be refused
                    break;
                case 3:
                    (void)graph.set_child(one, "extra", Role::data,
                                          random.chance(1, 3) ? nullptr : &other);
                    break;
                default: {
                    Transaction tx;
                    graph.move(tx, *edges[random.below(edges.size())], one);
                    if (random.chance(1, 2)) tx.commit();
                }
                }
                REQUIRE(Drain::check(f.layer) == "");
            }
            for (Node* node : sections) Drain::end(*node);
        });
        for (const auto& user : users) CHECK(user->drains == 0);
        for (const Node* node : nodes) CHECK(!node->drained());
        for (Edge* edge : edges) graph.detach(*edge);
    }
}

}  // namespace
}  // namespace blocklayer
