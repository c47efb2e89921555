// SPDX-License-Identifier: Apache-2.0
// Holds:   a stream leaves what a guest sees in fewer images, also while it writes; cancelled or
//          failed it leaves the chain; the graph meanwhile is the real program's.
// Method:  random chains of test formats read back before and after, a guest writing meanwhile.
#include "blocklayer/jobs/stream.hpp"

#include "blocklayer/graph/filename.hpp"
#include "blocklayer/testing/job_fixture.hpp"
#include "sim/rng.hpp"
#include "sim/testing/catch.hpp"

namespace blocklayer {
namespace {

using testing::JobFixture;

constexpr std::uint64_t disk_bytes = 1024 * 1024;

struct Chain {  // a <- b <- c, the lower two read-only, a guest on c
    explicit Chain(std::uint64_t seed);
    Node& node(std::string_view name) { return *f.layer.find_node(name); }
    std::vector<std::byte> guest_sees();

    JobFixture f;
    sim::RandomStream random;
    BlockBackend* guest = nullptr;
};

Chain::Chain(std::uint64_t seed) : f(seed), random(seed, "stream chain") {
    Node* below = nullptr;
    for (const char name : {'a', 'b', 'c'}) {
        Node& memory = f.memory(std::string(1, name) + "f", disk_bytes);
        f.fill(memory, static_cast<std::uint8_t>(name));
        Node& node = f.format(std::string(1, name), memory, below, /*read_only=*/name != 'c');
        for (std::uint64_t cluster = 0; cluster < 16; ++cluster)
            if (random.chance(1, 3)) f.format_of(node).allocated.insert(cluster);
        below = &node;
    }
    guest = &f.user(*below, "CW", "CUR", "D");
}

std::vector<std::byte> Chain::guest_sees() {
    std::vector<std::byte> bytes(disk_bytes);
    f.run([&](sim::Co& co) { CHECK(guest->read(co, 0, std::span<std::byte>(bytes))); });
    return bytes;
}

TEST_CASE("stream: of the whole chain and of a part", "[jobs][stream]") {
    for (std::uint64_t seed = 1; seed <= 4; ++seed) {
        const bool whole = seed % 2 == 0;
        INFO("seed " << seed << (whole ? " whole" : " to a base"));
        Chain chain(seed);
        JobFixture& f = chain.f;
        Value arguments = Value::dict({{"job-id", "s0"}, {"device", "c"}, {"speed", 2'000'000}});
        if (!whole) arguments.set("base-node", "a");
        auto model = chain.guest_sees();
        REQUIRE(f.qmp_error("block-stream", arguments) == "ok");
        for (int i = 0; i < 8; ++i) {
            const std::vector<std::byte> bytes(1 + chain.random.below(50'000),
                                               std::byte(chain.random.below(256)));
            const std::uint64_t at = chain.random.below(disk_bytes - bytes.size());
            f.run([&](sim::Co& co) { CHECK(chain.guest->write(co, at, std::span(bytes))); });
            std::copy(bytes.begin(), bytes.end(),
                      model.begin() + static_cast<std::ptrdiff_t>(at));
            f.world.advance(sim::milliseconds(static_cast<std::int64_t>(chain.random.below(60))));
        }
        f.settle();
        CHECK(f.told() == "created running waiting pending COMPLETED concluded null");
        CHECK(chain.guest->node() == &chain.node("c"));
        const Edge* backing = chain.node("c").backing();
        if (whole)
            CHECK(backing == nullptr);
        else
            CHECK(&backing->child() == &chain.node("a"));
        CHECK(f.format_of(chain.node("c")).backing_file ==
              (whole ? "" : shown_filename(chain.node("a"))));
        CHECK(chain.guest_sees() == model);
        f.check();
    }
}

TEST_CASE("stream: the graph meanwhile", "[jobs][stream]") {
    Chain chain(1);
    JobFixture& f = chain.f;
    f.qmp("block-stream", {{"job-id", "s0"},
                           {"device", "c"},
                           {"filter-node-name", "F"},
                           {"auto-finalize", false}});
    f.settle();
    CHECK(f.layer.graph().dump() ==
          "node 'a' --file--> af C / CU\n"
          "stream job 's0' --intermediate node--> a - / CU\n"
          "node 'b' --backing--> a C / CU frozen\n"
          "node 'b' --file--> bf C / CU\n"
          "stream job 's0' --intermediate node--> b - / CU\n"
          "node 'c' --backing--> b C / CU frozen\n"
          "node 'c' --file--> cf ALL / CU\n"
          "stream job 's0' --active node--> c - / CWU\n"
          "node 'F' --file--> c CWU / CU frozen\n"
          "an unnamed block device --root--> F C / CWU\n"
          "stream job 's0' --main node--> F - / ALL\n"
          "block device 'D' --root--> F CW / CUR\n");
    f.qmp("job-cancel", {{"id", "s0"}});
    f.settle();
    CHECK(f.layer.graph().dump() ==
          "node 'a' --file--> af C / CU\n"
          "node 'b' --backing--> a C / CU\n"
          "node 'b' --file--> bf C / CU\n"
          "node 'c' --backing--> b C / CU\n"
          "node 'c' --file--> cf CWR / CU\n"
          "block device 'D' --root--> c CW / CUR\n");
    f.check();
}

TEST_CASE("stream: what could not be read stays below", "[jobs][stream]") {
    const bool ignored = GENERATE(false, true);
    Chain chain(2);
    JobFixture& f = chain.f;
    const auto seen = chain.guest_sees();
    f.memory_of(chain.node("bf")).failing.insert("read");
    f.qmp("block-stream", {{"job-id", "s0"},
                           {"device", "c"},
                           {"on-error", ignored ? "ignore" : "report"},
                           {"auto-dismiss", false}});
    f.settle();
    CHECK(f.told().ends_with("aborting COMPLETED concluded"));
    CHECK(f.qmp("query-jobs").items().front().at("error") == "Input/output error");
    f.qmp("job-dismiss", {{"id", "s0"}});
    f.memory_of(chain.node("bf")).failing.clear();
    CHECK(&chain.node("c").backing()->child() == &chain.node("b"));
    CHECK(chain.guest_sees() == seen);
    f.check();
}

TEST_CASE("stream: stops at an error and goes on", "[jobs][stream]") {
    Chain chain(2);
    JobFixture& f = chain.f;
    const auto seen = chain.guest_sees();
    f.memory_of(chain.node("bf")).failing.insert("read");
    f.qmp("block-stream", {{"job-id", "s0"}, {"device", "c"}, {"on-error", "stop"}});
    f.settle();
    CHECK(f.told() == "created running ERROR paused");
    f.memory_of(chain.node("bf")).failing.clear();
    f.qmp("block-job-resume", {{"device", "s0"}});
    f.settle();
    CHECK(f.told() == "running waiting pending COMPLETED concluded null");
    CHECK(chain.guest_sees() == seen);
    CHECK(chain.node("c").backing() == nullptr);
}

TEST_CASE("stream: into a read-only image, which stays one", "[jobs][stream]") {
    Chain chain(3);
    JobFixture& f = chain.f;
    const auto seen = chain.guest_sees();
    f.qmp("block-stream", {{"job-id", "s0"}, {"device", "b"}});
    f.settle();
    CHECK(f.told() == "created running waiting pending COMPLETED concluded null");
    CHECK(chain.node("b").read_only());
    CHECK(chain.node("b").backing() == nullptr);
    CHECK(chain.guest_sees() == seen);
    f.check();
}

}  // namespace
}  // namespace blocklayer
