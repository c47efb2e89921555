// SPDX-License-Identifier: Apache-2.0
// Holds:   limits are kept as measured on the real program; members of a group take turns; when a
//          member that holds the group's timer leaves or is drained, the others go on.
// Method:  requests through throttle nodes over memory, with the simulated clock as the witness.
#include "blocklayer/graph/drain.hpp"
#include "blocklayer/graph/reopen.hpp"
#include "blocklayer/requests/throttle_group.hpp"
#include "blocklayer/testing/graph_fixture.hpp"
#include "sim/testing/catch.hpp"

namespace blocklayer {
namespace {

using testing::GraphFixture;

std::shared_ptr<ThrottleGroup> group(GraphFixture& f, const char* name, const Value& members) {
    ThrottleLimits limits;
    REQUIRE(limits.apply(members));
    auto made = std::make_shared<ThrottleGroup>(f.world, name);
    made->set_limits(limits);
    throttle_groups(f.layer).emplace(name, made);
    return made;
}

Value throttle(const std::string& name, const char* group_name) {
    return Value::dict({{"driver", "throttle"},
                        {"node-name", name},
                        {"throttle-group", group_name},
                        {"file", name + "-file"}});
}

struct Member {
    Member(GraphFixture& fixture, const std::string& name, const char* group_name = "g")
        : f(fixture),
          file(f.memory(name + "-file")),
          node(f.open(throttle(name, group_name))),
          user(f.user(node, "CW", "CWUR")) {}

    void write(sim::Co& co, std::size_t length = 512) {
        std::vector<std::byte> bytes(length);
        CHECK(user.write(co, 0, sim::IoView(std::span(bytes))));
        done_ms.push_back((co.world().now() - sim::Instant{}).ns / 1'000'000);
    }
    // `count` writers that start together.
    void spawn_writers(int count) {
        for (int i = 0; i < count; ++i)
            f.world.spawn(f.world.main_thread(), "writer", [this](sim::Co& co) { write(co); });
    }

    GraphFixture& f;
    Node& file;
    Node& node;
    BlockBackend& user;
    std::vector<std::int64_t> done_ms;  // when each write ended
};

std::vector<std::int64_t> one_after_the_other(const Value& limits, int count,
                                              std::size_t length = 512) {
    GraphFixture f;
    group(f, "g", limits);
    Member member(f, "a");
    f.run([&](sim::Co& co) {
        for (int i = 0; i < count; ++i) member.write(co, length);
    });
    return member.done_ms;
}

using Times = std::vector<std::int64_t>;

TEST_CASE("throttle: rates, as measured on the real program", "[throttle]") {
    CHECK(one_after_the_other(Value::dict({{"iops-total", 10}}), 5) == Times{0, 0, 100, 200, 300});
    CHECK(one_after_the_other(Value::dict({{"iops-write", 10}}), 4) == Times{0, 0, 100, 200});
    CHECK(one_after_the_other(Value::dict({{"iops-read", 1}}), 4) == Times{0, 0, 0, 0});
    CHECK(one_after_the_other(Value::dict({{"bps-total", 1 << 20}}), 4, 256 << 10) ==
          Times{0, 150, 400, 650});
    CHECK(one_after_the_other(Value::dict({{"iops-total", 10}, {"iops-size", 4096}}), 4, 6144) ==
          Times{0, 50, 200, 350});
    CHECK(one_after_the_other(Value::dict({{"iops-total", 10},
                                           {"iops-total-max", 20},
                                           {"iops-total-max-length", 2}}),
                              5) == Times{0, 0, 0, 50, 100});
    const Times burst = one_after_the_other(
        Value::dict({{"iops-total", 10}, {"iops-total-max", 20}}), 23);
    CHECK(burst[20] == 0);
    CHECK(burst[21] == 100);
    CHECK(burst[22] == 200);
}

TEST_CASE("throttle: members take turns", "[throttle]") {
    GraphFixture f;
    group(f, "g", Value::dict({{"iops-total", 10}}));
    Member a(f, "a"), b(f, "b");
    f.run([&](sim::Co& co) {
        a.spawn_writers(6);
        co.sleep(sim::nanoseconds(1));
        b.spawn_writers(2);
        co.sleep(sim::seconds(2));
    });
    CHECK(a.done_ms == Times{0, 0, 100, 300, 500, 600});
    CHECK(b.done_ms == Times{200, 400});
    f.check();
}

TEST_CASE("throttle: a member that leaves hands its timer on", "[throttle]") {
    GraphFixture f;
    group(f, "g", Value::dict({{"iops-total", 10}}));
    group(f, "free", Value::dict());
    Member a(f, "a"), b(f, "b");
    f.run([&](sim::Co& co) {
        a.spawn_writers(5);
        co.sleep(sim::nanoseconds(1));
        b.spawn_writers(3);
        co.sleep(sim::milliseconds(10));
        const Value moved = throttle("a", "free");
        CHECK(Reopen::reopen(co, f.layer, std::span(&moved, 1)));
        CHECK(a.done_ms.size() == 5);  // drained: nothing of it waits
        a.spawn_writers(2);
        co.sleep(sim::seconds(2));
    });
    CHECK(a.done_ms.size() == 7);
    CHECK(a.done_ms.back() == 10);
    CHECK(b.done_ms == Times{100, 200, 300});
    f.check();
}

TEST_CASE("throttle: a drained section does not wait for the limits", "[throttle]") {
    GraphFixture f;
    group(f, "g", Value::dict({{"iops-total", 1}}));
    Member a(f, "a"), b(f, "b");
    f.run([&](sim::Co& co) {
        a.spawn_writers(4);
        b.spawn_writers(2);
        co.sleep(sim::milliseconds(1));
        const sim::Instant before = co.world().now();
        const DrainedSection drained(co, a.node);
        CHECK(co.world().now() == before);
        CHECK(a.done_ms.size() == 4);
        co.sleep(sim::seconds(5));
        CHECK(b.done_ms.size() == 2);
    });
}

TEST_CASE("throttle: a filter is made, or refused, over a drained node", "[throttle]") {
    GraphFixture f;
    group(f, "g", Value::dict({{"iops-total", 1}}));
    Node& file = f.memory("t-file");
    Drain::quiesce(file);
    CHECK(f.open_error(throttle("t", "none")).text == "Throttle group 'none' does not exist");
    Node& node = f.open(throttle("t", "g"));
    CHECK(node.drained());
    Drain::end(file);
    CHECK_FALSE(node.drained());
    CHECK(Drain::check(f.layer).empty());
}

TEST_CASE("throttle: new limits hold at once", "[throttle]") {
    GraphFixture f;
    const auto g = group(f, "g", Value::dict({{"iops-total", 1}}));
    Member a(f, "a");
    f.run([&](sim::Co& co) {
        a.spawn_writers(6);
        co.sleep(sim::milliseconds(1));
        ThrottleLimits faster = g->limits();
        REQUIRE(faster.apply(Value::dict({{"iops-total", 100}})));
        g->set_limits(faster);
        co.sleep(sim::milliseconds(100));
        CHECK(a.done_ms.size() == 6);
        g->set_limits({});
        a.spawn_writers(100);
        co.sleep(sim::nanoseconds(1));
        CHECK(a.done_ms.size() == 106);
    });
}

TEST_CASE("throttle: which limits there are", "[throttle]") {
    const auto text = [](const Value& members) -> std::string {
        ThrottleLimits limits;
        const Status status = limits.apply(members);
        if (!status) CHECK(limits == ThrottleLimits{});  // nothing remains of a refused change
        return status ? "ok" : status.error().text;
    };
    CHECK(text(Value::dict({{"iops-total", -1}})) ==
          "bps/iops/max values must be within [0, 1000000000000000]");
    CHECK(text(Value::dict({{"bps-total", 1}, {"bps-read", 1}})) ==
          "bps/iops/max total values and read/write values cannot be used at the same time");
    CHECK(text(Value::dict({{"iops-total-max", 10}})) ==
          "bps_max/iops_max require corresponding bps/iops values");
    CHECK(text(Value::dict({{"iops-total", 10}, {"iops-total-max", 5}})) ==
          "bps_max/iops_max cannot be lower than bps/iops");
    CHECK(text(Value::dict({{"iops-total", 10}, {"iops-total-max-length", 5}})) ==
          "burst length set without burst rate");
    CHECK(text(Value::dict({{"iops-size", 4096}})) == "iops size requires an iops value to be set");
    CHECK(text(Value::dict({{"bps-total", 1'000'000'000'000'000}})) == "ok");
}

TEST_CASE("throttle: R48, a filter beside a guest", "[throttle]") {
    GraphFixture f;
    group(f, "g", Value::dict());
    Node& b = f.memory("t-file");
    f.user(b, "CW", "CU", "D");
    Node& th = f.open(throttle("t", "g"));
    CHECK(f.try_attach(th, "C", "CU") ==
          testing::conflict("t-file", "write", "block device 'D'", "root", "node 't'", "file"));
    CHECK(f.open_error(throttle("t", "nosuch")).text == "Duplicate nodes with node-name='t'");
    Value lost = throttle("u", "nosuch");
    lost.set("file", "t-file");
    CHECK(f.open_error(lost).text == "Throttle group 'nosuch' does not exist");
}

}  // namespace
}  // namespace blocklayer
