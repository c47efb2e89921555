// SPDX-License-Identifier: Apache-2.0
// Holds:   a commit leaves what a guest saw, in fewer images; an error, a cancel or a conflict
//          leaves everything as it was.
// Method:  chains of qcow2 images over a memory store, read back through the chain before and
//          after; graphs against those of the real program.
#include "blocklayer/jobs/commit.hpp"

#include "blocklayer/graph/dirty_bitmap.hpp"
#include "blocklayer/layer.hpp"
#include "blocklayer/testing/job_fixture.hpp"
#include "sim/rng.hpp"
#include "sim/testing/catch.hpp"

namespace blocklayer {
namespace {

using testing::conflict;
using testing::JobFixture;

constexpr std::uint64_t disk_bytes = 1024 * 1024;

// a <- b <- c <- d of test formats over memory, each holding some clusters; lower ones read-only.
struct Chain {
    explicit Chain(std::uint64_t seed = 1);
    std::vector<std::byte> contents(Node& node);
    Node& node(std::string_view name) { return *f.layer.find_node(name); }
    std::string after(std::string_view word);

    JobFixture f;
    BlockBackend* guest = nullptr;
};

Chain::Chain(std::uint64_t seed) : f(seed) {
    sim::RandomStream random(seed, "commit chain");
    Node* below = nullptr;
    for (const char name : {'a', 'b', 'c', 'd'}) {
        const std::string file = std::string(1, name) + "f";
        Node& memory = f.memory(file, disk_bytes);
        f.fill(memory, static_cast<std::uint8_t>(name));
        Node& node = f.format(std::string(1, name), memory, below, /*read_only=*/name != 'd');
        for (std::uint64_t cluster = 0; cluster < 16; ++cluster)
            if (random.chance(1, 3)) f.format_of(node).allocated.insert(cluster);
        below = &node;
    }
    guest = &f.user(*below, "CW", "CUR", "D");
}

std::vector<std::byte> Chain::contents(Node& node) {
    std::vector<std::byte> bytes(disk_bytes);
    BlockBackend& reader = f.user(node, "-", "CWUR");
    f.run([&](sim::Co& co) {
        CHECK(reader.read(co, 0, std::span<std::byte>(bytes), RequestFlag::inconsistent_ok));
    });
    f.drop(reader);
    return bytes;
}

TEST_CASE("commit: of what lies below the active layer", "[jobs][commit]") {
    for (std::uint64_t seed = 1; seed <= 2; ++seed) {
        INFO("seed " << seed);
        Chain chain(seed);
        JobFixture& f = chain.f;
        const auto seen = chain.contents(chain.node("d"));
        f.qmp("block-commit", {{"job-id", "c0"},
                               {"device", "d"},
                               {"top-node", "c"},
                               {"base-node", "a"},
                               {"filter-node-name", "F"},
                               {"auto-finalize", false}});
        f.settle();
        CHECK(f.told() == "created running waiting pending PENDING");
        CHECK(f.layer.graph().dump() ==
              "node 'a' --file--> af CWR / CU\n"
              "an unnamed block device --root--> a CW / CU\n"
              "commit job 'c0' --base--> a - / ALL\n"
              "node 'b' --backing--> a - / ALL frozen\n"
              "node 'b' --file--> bf C / U\n"
              "commit job 'c0' --intermediate node--> b - / WU\n"
              "node 'c' --backing--> b - / ALL frozen\n"
              "node 'c' --file--> cf C / U\n"
              "an unnamed block device --root--> c - / ALL\n"
              "commit job 'c0' --intermediate node--> c - / WU\n"
              "node 'F' --backing--> c - / ALL frozen\n"
              "node 'd' --file--> df CWR / CU\n"
              "commit job 'c0' --main node--> d - / ALL\n"
              "block device 'D' --root--> d CW / CUR\n"
              "node 'd' --backing--> F C / CU\n");
        CHECK(chain.contents(chain.node("d")) == seen);
        f.qmp("job-finalize", {{"id", "c0"}});
        CHECK(f.told() == "COMPLETED concluded null");
        CHECK(&chain.node("d").backing()->child() == &chain.node("a"));
        CHECK(chain.contents(chain.node("d")) == seen);
        CHECK(chain.node("a").read_only());
        CHECK_FALSE(chain.node("d").backing()->frozen());
        for (const char* name : {"a", "b", "c", "d"})
            CHECK(f.layer.blocked(chain.node(name), op_commit_target) == nullptr);
        f.check();
    }
}

TEST_CASE("commit: of the active layer while the guest writes", "[jobs][commit]") {
    for (std::uint64_t seed = 1; seed <= 2; ++seed) {
        INFO("seed " << seed);
        Chain chain(seed);
        JobFixture& f = chain.f;
        f.qmp("block-commit", {{"job-id", "c0"}, {"device", "d"}, {"base-node", "b"}});
        sim::RandomStream random(seed, "guest of a commit");
        for (int i = 0; i < 10; ++i) {
            const std::vector<std::byte> bytes(1 + random.below(70'000),
                                               std::byte(random.below(256)));
            const std::uint64_t at = random.below(disk_bytes - bytes.size());
            f.run([&](sim::Co& co) { CHECK(chain.guest->write(co, at, std::span(bytes))); });
            f.world.advance(sim::milliseconds(static_cast<std::int64_t>(random.below(80))));
        }
        f.settle();
        CHECK(f.told() == "created running ready READY");
        const auto seen = chain.contents(*chain.guest->node());
        f.qmp("block-job-complete", {{"device", "c0"}});
        f.settle();
        CHECK(f.told() == "waiting pending COMPLETED concluded null");
        CHECK(chain.guest->node() == &chain.node("b"));
        CHECK(chain.contents(chain.node("b")) == seen);
        f.check();
    }
}

TEST_CASE("commit: what is cancelled or fails leaves the chain", "[jobs][commit]") {
    const bool active = GENERATE(false, true);
    const bool cancelled = GENERATE(false, true);
    Chain chain;
    JobFixture& f = chain.f;
    const auto seen = chain.contents(chain.node("d"));
    Value arguments =
        Value::dict({{"job-id", "c0"}, {"device", "d"}, {"base-node", "a"}, {"speed", 1}});
    if (!active) arguments.set("top-node", "c");
    if (!cancelled) f.memory_of(chain.node("af")).failing.insert("write");
    CHECK(f.qmp_error("block-commit", arguments) == "ok");
    f.settle();
    if (cancelled) f.qmp("job-cancel", {{"id", "c0"}});
    f.settle();
    // Each of the copies under way says what happened to it.
    const std::string end = cancelled ? "aborting CANCELLED"
                            : active  ? "ERROR ERROR aborting COMPLETED"
                                      : "ERROR aborting COMPLETED";
    CHECK(f.told() == "created running " + end + " concluded null");
    CHECK(&chain.node("d").backing()->child() == &chain.node("c"));
    CHECK(chain.guest->node() == &chain.node("d"));
    CHECK(chain.contents(chain.node("d")) == seen);
    // As the real program: an active commit leaves its base writable.
    CHECK(chain.node("a").read_only() == !active);
    f.check();
}

TEST_CASE("commit: an end that would make users clash is refused", "[jobs][commit]") {
    const bool complete = GENERATE(false, true);
    Chain chain;
    JobFixture& f = chain.f;
    f.qmp("block-commit", {{"job-id", "c0"}, {"device", "d"}, {"base-node", "b"}});
    f.settle();
    BlockBackend& other = f.user(chain.node("b"), "CW", "CWUR", "E");
    const std::string before = f.layer.graph().dump();
    const std::string refused =
        complete ? conflict("b", "write", "block device 'E'", "root", "block device 'D'", "root")
                 : conflict("b", "write", "block device 'E'", "root", "node 'c'", "backing");
    CHECK(f.qmp_error(complete ? "job-complete" : "job-cancel", Value::dict({{"id", "c0"}})) ==
          refused);
    f.settle();
    CHECK(f.layer.graph().dump() == before);
    CHECK(f.told() == "created running ready READY");
    f.drop(other);
    f.qmp(complete ? "job-complete" : "job-cancel", {{"id", "c0"}});
    f.settle();
    CHECK(chain.guest->node() == &chain.node(complete ? "b" : "d"));
    CHECK(f.layer.jobs().all().empty());
    f.check();
}

TEST_CASE("commit: ends all the same when others stand in the way", "[jobs][commit]") {
    Chain chain;
    JobFixture& f = chain.f;
    const auto seen = chain.contents(chain.node("d"));
    f.qmp("block-commit", {{"job-id", "c0"}, {"device", "d"}, {"base-node", "b"}});
    f.settle();
    f.user(chain.node("b"), "CW", "CWUR", "E");
    f.run([&](sim::Co& co) { f.layer.jobs().cancel_all(co); });
    CHECK(f.told() == "created running ready READY aborting CANCELLED concluded null");
    // The filter stays and hands on; the guest sees no difference.
    CHECK(chain.guest->node()->spec().name == "mirror_top");
    std::vector<std::byte> bytes(disk_bytes);
    f.run([&](sim::Co& co) { CHECK(chain.guest->read(co, 0, std::span<std::byte>(bytes))); });
    CHECK(bytes == seen);
    f.check();
}

TEST_CASE("commit: error policies", "[jobs][commit]") {
    Chain chain;
    JobFixture& f = chain.f;
    f.memory_of(chain.node("af")).failing.insert("write");
    f.qmp("block-commit", {{"job-id", "c0"},
                           {"device", "d"},
                           {"top-node", "c"},
                           {"backing-file", "base.img"},
                           {"on-error", "stop"}});
    f.settle();
    CHECK(f.told() == "created running ERROR paused");
    CHECK(f.qmp("query-block-jobs").items().front().at("io-status") == "failed");
    f.memory_of(chain.node("af")).failing.clear();
    f.qmp("block-job-resume", {{"device", "c0"}});
    f.settle();
    CHECK(f.told() == "running waiting pending COMPLETED concluded null");
    CHECK(f.format_of(chain.node("d")).backing_file == "base.img");
    f.check();
}

}  // namespace
}  // namespace blocklayer
