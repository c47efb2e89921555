// SPDX-License-Identifier: Apache-2.0
// Holds:   snapshot-access over copy-before-write shows the contents of the filter's first moment,
//          whatever is written since; the guest's own view is not touched by it; permissions are
//          the reference's (R101, golden graphs).
// Method:  random writes by several fibers, the old contents compared after each; injected errors.
#include "blocklayer/graph/graph.hpp"
#include "blocklayer/testing/graph_fixture.hpp"
#include "sim/testing/catch.hpp"

namespace blocklayer {
namespace {

using testing::conflict;
using testing::GraphFixture;
using testing::perms;

constexpr std::uint64_t cluster = 64 * 1024;
constexpr std::uint64_t length = 8 * cluster + 1000;

struct Fleecing {
    explicit Fleecing(GraphFixture& fixture, Value more = Value::dict()) : f(fixture) {
        for (std::size_t i = 0; i < length; ++i)
            f.memory_of(source).bytes[i] = std::byte(i * 31 / 512 % 251);
        Value options = Value::dict({{"driver", "copy-before-write"},
                                     {"node-name", "cbw"},
                                     {"file", "source"},
                                     {"target", "target"}});
        for (const auto& [key, value] : more.members()) options.set(key, value);
        cbw = &f.open(options);
        access = &f.open(Value::dict({{"driver", "snapshot-access"},
                                      {"node-name", "access"},
                                      {"file", "cbw"},
                                      {"discard", "unmap"}}));
        guest = &f.user(*cbw, "CW", "CU", "D");
        reader = &f.user(*access, "CW", "CWUR");
    }
    static IoStatus write(sim::Co& co, BlockBackend& user, std::uint64_t offset, std::size_t size,
                          std::byte with) {
        std::vector<std::byte> bytes(size, with);
        return user.write(co, offset, sim::IoView(std::span(bytes)));
    }
    IoStatus read(sim::Co& co, std::uint64_t offset, std::size_t size) {
        std::vector<std::byte> bytes(size);
        return reader->read(co, offset, sim::IoView(std::span(bytes)));
    }
    std::vector<std::byte> old_state(sim::Co& co) {
        std::vector<std::byte> bytes(length);
        CHECK(reader->read(co, 0, sim::IoView(std::span(bytes))));
        return bytes;
    }

    GraphFixture& f;
    Node& source = f.memory("source", length);
    Node& target = f.memory("target", length);
    Node* cbw = nullptr;
    Node* access = nullptr;
    BlockBackend* guest = nullptr;
    BlockBackend* reader = nullptr;
};

TEST_CASE("copy-before-write: the old state stays under random writes", "[copy_before_write]") {
    const std::uint64_t seed = GENERATE(range(1, 9));
    CAPTURE(seed);
    GraphFixture f(seed);
    Fleecing fleecing(f);
    const std::vector<std::byte> before = f.memory_of(fleecing.source).bytes;
    std::vector<std::byte> expected = before;
    // The medium takes its time, so that requests meet.
    const auto slow = [&](sim::Co& co, const testing::DriverCall&) {
        co.sleep(sim::nanoseconds(
            static_cast<std::int64_t>(f.world.rng("medium").below(1000))));
    };
    f.memory_of(fleecing.source).before = slow;
    f.memory_of(fleecing.target).before = slow;
    f.run([&](sim::Co& co) {
        int running = 4;
        for (int writer = 0; writer < 4; ++writer)
            f.world.spawn(f.world.main_thread(), "writer", [&, writer](sim::Co& own) {
                auto& rng = f.world.rng("writer");
                for (int i = 0; i < 12; ++i) {
                    // Each in sectors of its own, so that the last one to write is known.
                    const std::uint64_t sector = rng.below(length / 512 / 4) * 4 +
                                                 static_cast<std::uint64_t>(writer);
                    const auto with = std::byte(200 + writer);
                    CHECK(Fleecing::write(own, *fleecing.guest, sector * 512, 512, with));
                    std::fill_n(expected.begin() + static_cast<std::ptrdiff_t>(sector * 512), 512,
                                with);
                }
                --running;
            });
        while (running > 0) {
            REQUIRE((fleecing.old_state(co) == before));
            co.sleep(sim::nanoseconds(100));
        }
        REQUIRE((fleecing.old_state(co) == before));
    });
    CHECK((f.memory_of(fleecing.source).bytes == expected));
    f.check();
}

TEST_CASE("copy-before-write: a failed copy breaks the write or the snapshot",
          "[copy_before_write]") {
    for (const bool break_snapshot : {false, true}) {
        GraphFixture f;
        Fleecing fleecing(
            f, Value::dict({{"on-cbw-error",
                             break_snapshot ? "break-snapshot" : "break-guest-write"}}));
        f.memory_of(fleecing.target).failing = {"write"};
        f.run([&](sim::Co& co) {
            const IoStatus wrote =
                Fleecing::write(co, *fleecing.guest, 0, 512, std::byte{1});
            CHECK(wrote.has_value() == break_snapshot);
            const IoStatus read = fleecing.read(co, 0, 512);
            CHECK(read.has_value() != break_snapshot);
            if (!read) CHECK(read.error() == Errno::access);
            f.memory_of(fleecing.target).failing = {};
            CHECK(Fleecing::write(co, *fleecing.guest, 0, 512, std::byte{1}));
        });
        f.check();
    }
}

TEST_CASE("copy-before-write: what nobody wants any more is not copied", "[copy_before_write]") {
    GraphFixture f;
    Fleecing fleecing(f);
    f.run([&](sim::Co& co) {
        CHECK(fleecing.reader->discard(co, cluster, 2 * cluster));
        CHECK(fleecing.read(co, cluster, 512) == Unexpected(Errno::access));
        CHECK(fleecing.read(co, 0, cluster));
        f.memory_of(fleecing.target).calls.clear();
        CHECK(Fleecing::write(co, *fleecing.guest, cluster, 2 * cluster, std::byte{1}));
        CHECK(f.memory_of(fleecing.target).calls.empty());
        CHECK(Fleecing::write(co, *fleecing.guest, 3 * cluster, 1, std::byte{1}));
        CHECK(f.memory_of(fleecing.target).calls.size() == 1);
    });
}

TEST_CASE("copy-before-write: the guest's flush is of the source alone", "[copy_before_write]") {
    GraphFixture f;
    Fleecing fleecing(f);
    f.memory_of(fleecing.target).failing = {"flush"};
    f.run([&](sim::Co& co) {
        CHECK(Fleecing::write(co, *fleecing.guest, 0, 512, std::byte{1}));
        CHECK(fleecing.guest->flush(co));
        f.memory_of(fleecing.source).failing = {"flush"};
        CHECK(Fleecing::write(co, *fleecing.guest, 0, 512, std::byte{2}));
        CHECK(fleecing.guest->flush(co) == Unexpected(Errno::io));
    });
}

TEST_CASE("copy-before-write: a target that is too short fails the write", "[copy_before_write]") {
    GraphFixture f;
    Node& small = f.memory("small", cluster);
    Fleecing fleecing(f, Value::dict({{"target", small.name()}}));
    f.run([&](sim::Co& co) {
        CHECK(Fleecing::write(co, *fleecing.guest, 0, 512, std::byte{1}));
        CHECK(Fleecing::write(co, *fleecing.guest, cluster, 512, std::byte{1}) ==
              Unexpected(Errno::no_space));
    });
}

TEST_CASE("copy-before-write: R101 and the golden graphs", "[copy_before_write]") {
    GraphFixture f;
    Node& b = f.memory("b");
    Node& tmp = f.memory("tmp");
    f.user(b, "CW", "CUR", "D");
    Node& cbw = f.open(Value::dict({{"driver", "copy-before-write"},
                                    {"node-name", "cbw"},
                                    {"file", b.name()},
                                    {"target", tmp.name()}}));
    CHECK(f.edge(cbw, "file").claim() == Claim{});
    CHECK(f.edge(cbw, "target").claim() == Claim{perms("W"), perms("CWU")});
    CHECK(f.try_attach(cbw, "C", "CU") ==
          conflict("b", "write", "block device 'D'", "root", "node 'cbw'", "file"));
    CHECK(f.open_error(Value::dict({{"driver", "snapshot-access"},
                                    {"node-name", "acc"},
                                    {"file", "cbw"}}))
              .text == conflict("b", "write", "block device 'D'", "root", "node 'cbw'", "file"));

    REQUIRE(f.backends.front()->replace(cbw));
    Node& access = f.open(Value::dict(
        {{"driver", "snapshot-access"}, {"node-name", "acc"}, {"file", "cbw"}}));
    CHECK(f.edge(cbw, "file").claim() == Claim{perms("CW"), perms("CU")});
    CHECK(f.edge(access, "file").claim() == Claim{});
    f.check();
}

}  // namespace
}  // namespace blocklayer
