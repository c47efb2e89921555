// SPDX-License-Identifier: Apache-2.0
// Holds:   flush does what is needed and no more; truncate changes length, users and bitmaps, and
//          hides what lies below; status tells where data is; copy on read copies once.
// Method:  test drivers whose calls are counted.
#include "blocklayer/graph/dirty_bitmap.hpp"
#include "blocklayer/requests/request.hpp"
#include "blocklayer/testing/graph_fixture.hpp"
#include "sim/testing/catch.hpp"

namespace blocklayer {
namespace {

using testing::DriverCall;
using testing::FormatDriver;
using testing::GraphFixture;
using testing::MemoryDriver;

constexpr std::uint64_t cluster = FormatDriver::cluster_bytes;

std::vector<std::byte> bytes(std::size_t size, int value) {
    return std::vector<std::byte>(size, std::byte{static_cast<std::uint8_t>(value)});
}

std::string requests_of(MemoryDriver& driver) {
    std::string names;
    for (const DriverCall& call : std::exchange(driver.calls, {})) names += call.request + " ";
    return names;
}

TEST_CASE("flush: only what was written since, once for all who wait", "[requests][flush]") {
    GraphFixture f;
    Node& n = f.memory("n");
    MemoryDriver& driver = f.memory_of(n);
    BlockBackend& guest = f.user(n, "CW", "ALL", "D");
    const auto data = bytes(512, 1);
    f.run([&](sim::Co& co) {
        REQUIRE(guest.flush(co));
        CHECK(requests_of(driver) == "");
        REQUIRE(guest.write(co, 0, std::span<const std::byte>(data)));
        REQUIRE(guest.flush(co));
        REQUIRE(guest.flush(co));
        CHECK(requests_of(driver) == "write flush ");

        // A failed flush settles nothing.
        REQUIRE(guest.write_zeroes(co, 0, 512));
        driver.failing = {"flush"};
        CHECK(guest.flush(co).error() == Errno::io);
        driver.failing.clear();
        REQUIRE(guest.flush(co));
        CHECK(requests_of(driver) == "write flush flush ");

        // What is written during a flush is not settled by it.
        REQUIRE(guest.write(co, 0, std::span<const std::byte>(data)));
        bool first = true;
        driver.before = [&](sim::Co& inner, const DriverCall& call) {
            if (call.request != "flush" || !std::exchange(first, false)) return;
            CHECK(guest.write(inner, 512, std::span<const std::byte>(data)));
        };
        REQUIRE(guest.flush(co));
        REQUIRE(guest.flush(co));
        CHECK(requests_of(driver) == "write flush write flush ");
    });
    CHECK(n.flushed_generation == n.write_generation);
}

TEST_CASE("flush: of a node with children goes to those that are written to",
          "[requests][flush]") {
    GraphFixture f;
    Node& base = f.memory("base");
    Node& file = f.memory("file");
    Node& top = f.format("top", file, &base);
    BlockBackend& guest = f.user(top, "CW", "CU", "D");
    const auto data = bytes(512, 1);
    f.run([&](sim::Co& co) {
        REQUIRE(guest.write(co, 0, std::span<const std::byte>(data)));
        ++base.write_generation;  // somebody else's write
        REQUIRE(guest.flush(co));
    });
    CHECK(f.memory_of(file).calls.back().request == "flush");
    CHECK(requests_of(f.memory_of(base)) == "read ");
}

TEST_CASE("flush: not of a read-only node nor with cache.no-flush", "[requests][flush]") {
    GraphFixture f;
    Node& quick = f.open(Value::dict({{"driver", "test-memory"},
                                      {"node-name", "quick"},
                                      {"cache", Value::dict({{"no-flush", true}})}}));
    BlockBackend& guest = f.user(quick, "CW", "ALL", "D");
    const auto data = bytes(512, 1);
    f.run([&](sim::Co& co) {
        REQUIRE(guest.write(co, 0, std::span<const std::byte>(data)));
        REQUIRE(guest.flush(co));
        CHECK(requests_of(f.memory_of(quick)) == "write ");
    });
}

TEST_CASE("fua: a driver without it is flushed after the write", "[requests][flush]") {
    for (const bool supported : {false, true}) {
        GraphFixture f;
        Node& n = f.memory("n");
        f.memory_of(n).given.supports_fua = supported;
        f.layer.refresh_limits(n);
        BlockBackend& guest = f.user(n, "CW", "ALL", "D");
        const auto data = bytes(512, 1);
        f.run([&](sim::Co& co) {
            REQUIRE(guest.write(co, 0, std::span<const std::byte>(data), RequestFlag::fua));
        });
        CHECK(f.memory_of(n).calls.front().flags.has(RequestFlag::fua) == supported);
        CHECK(requests_of(f.memory_of(n)) == (supported ? "write " : "write flush "));
    }
}

TEST_CASE("zeroes: written where the driver has no better way", "[requests][zero]") {
    GraphFixture f;
    Node& n = f.memory("n");
    BlockBackend& guest = f.user(n, "CW", "ALL", "D");
    f.run([&](sim::Co& co) {
        CHECK(guest.write_zeroes(co, 0, 4096, RequestFlag::no_fallback).error() ==
              Errno::not_supported);
        CHECK(guest.write_zeroes(co, 0, 4096));
        CHECK(requests_of(f.memory_of(n)) == "write ");
        f.memory_of(n).zeroes_supported = true;
        CHECK(guest.write_zeroes(co, 0, 4096, RequestFlag::no_fallback));
        CHECK(requests_of(f.memory_of(n)) == "zero ");
    });
}

TEST_CASE("discard: advice, whole blocks only, and only where the node allows it",
          "[requests][discard]") {
    GraphFixture f;
    const auto node = [&](const char* name, const char* discard) -> Node& {
        Node& n = f.open(Value::dict(
            {{"driver", "test-memory"}, {"node-name", name}, {"discard", discard}}));
        f.memory_of(n).given.request_alignment = 512;
        f.layer.refresh_limits(n);
        return n;
    };
    Node &ignoring = node("ignoring", "ignore"), &n = node("n", "unmap");
    BlockBackend &one = f.user(ignoring, "CW", "ALL", "D"), &guest = f.user(n, "CW", "ALL", "E");
    f.run([&](sim::Co& co) {
        CHECK(one.discard(co, 0, 4096));
        CHECK(guest.discard(co, 100, 1000));  // whole blocks: [512, 1024)
        CHECK(guest.discard(co, 100, 200));   // none
        f.memory_of(n).failing = {"discard"};
        CHECK(guest.discard(co, 0, 512).error() == Errno::io);
    });
    CHECK(requests_of(f.memory_of(ignoring)) == "");
    CHECK(f.memory_of(n).calls ==
          std::vector<DriverCall>{{"discard", 512, 512, {}}, {"discard", 0, 512, {}}});
}

TEST_CASE("truncate: length, users and bitmaps follow", "[requests][truncate]") {
    GraphFixture f;
    Node& n = f.memory("n", 3 * cluster);
    Node& filter = f.filter("filter", n);
    n.dirty_bitmaps().push_back(std::make_unique<DirtyBitmap>("b", n.length(), 4096));
    int resized = 0;
    auto device = BlockBackend::make(f.layer, {});
    REQUIRE(device->attach_device("D", "/machine/D", {.resized = [&] { ++resized; }}));
    REQUIRE(device->insert(filter));
    BlockBackend& owner = f.user(n, "R", "ALL");
    f.run([&](sim::Co& co) {
        REQUIRE(owner.truncate(co, cluster, true));
        CHECK(filter.length() == cluster);
        CHECK(n.dirty_bitmaps().front()->length() == cluster);
        CHECK(resized == 1);
        REQUIRE(owner.truncate(co, cluster, true));
        CHECK(resized == 1);
        CHECK(owner.truncate(co, INT64_MAX, true).error().text ==
              "offset(9223372036854775807) exceeds maximum(9223372035781033984)");
    });
}

TEST_CASE("truncate: a longer backing file does not show through", "[requests][truncate]") {
    GraphFixture f;
    Node& base = f.memory("base", 2 * cluster);
    const auto old = bytes(2 * cluster, 7);
    f.memory_of(base).bytes = old;
    Node& file = f.memory("file", cluster);
    Node& top = f.format("top", file, &base);
    BlockBackend& owner = f.user(top, "CWR", "ALL");
    std::vector<std::byte> data(2 * cluster);
    f.run([&](sim::Co& co) {
        REQUIRE(top.length() == cluster);
        REQUIRE(owner.truncate(co, 2 * cluster, true));
        REQUIRE(owner.read(co, 0, std::span<std::byte>(data)));
    });
    CHECK(data[cluster - 1] == std::byte{7});
    CHECK(std::count(data.begin() + cluster, data.end(), std::byte{0}) == cluster);
}

TEST_CASE("block status: from the driver and from what lies below", "[requests][status]") {
    GraphFixture f;
    Node& base = f.memory("base", cluster);  // shorter than the overlay
    Node& file = f.memory("file", 3 * cluster);
    Node& top = f.format("top", file, &base);
    f.format_of(top).allocated = {1};
    Node& filter = f.filter("filter", top);
    BlockBackend& guest = f.user(filter, "C", "ALL", "D");
    f.run([&](sim::Co& co) {
        const auto status = [&](std::uint64_t offset, std::uint64_t length) {
            const auto found = guest.root()->block_status(co, offset, length);
            REQUIRE(found);
            return *found;
        };
        const BlockStatus below = status(0, 3 * cluster);
        CHECK(below.length == cluster);
        CHECK(!below.allocated);
        CHECK(!below.zero);
        const BlockStatus here = status(cluster + 512, 3 * cluster);
        CHECK(here.allocated);
        CHECK(here.data);
        CHECK(here.length == cluster - 512);
        CHECK(here.file == &file);
        CHECK(here.offset == cluster + 512);
        const BlockStatus beyond_base = status(2 * cluster, 3 * cluster);
        CHECK(beyond_base.zero);
        CHECK(beyond_base.eof);
        CHECK(status(3 * cluster, 512).eof);
    });
}

TEST_CASE("copy on read: what is below is read once", "[requests][copy_on_read]") {
    GraphFixture f;
    Node& base = f.memory("base", 2 * cluster);
    f.memory_of(base).bytes = bytes(2 * cluster, 7);
    Node& file = f.memory("file", 2 * cluster);
    Node& top = f.format("top", file, &base);
    BlockBackend& reader = f.user(top, "CU", "ALL", "D");
    std::vector<std::byte> data(512);
    const auto read = [&](std::uint64_t offset, RequestFlags flags) {
        std::fill(data.begin(), data.end(), std::byte{0});
        f.memory_of(base).calls.clear();
        IoStatus status = f.run([&](sim::Co& co) {
            return reader.read(co, offset, std::span<std::byte>(data), flags);
        });
        return status;
    };
    const RequestFlags copying = RequestFlag::copy_on_read;
    REQUIRE(read(100, copying));
    CHECK(data == bytes(512, 7));
    CHECK(f.format_of(top).allocated == std::set<std::uint64_t>{0});
    f.memory_of(base).failing = {"read"};
    REQUIRE(read(600, copying));
    CHECK(data == bytes(512, 7));
    CHECK(read(cluster, copying).error() == Errno::io);
    f.memory_of(base).failing.clear();

    REQUIRE(read(cluster, copying | RequestFlag::prefetch));  // no data wanted
    CHECK(data == bytes(512, 0));
    CHECK(f.format_of(top).allocated == std::set<std::uint64_t>{0, 1});
    CHECK(f.memory_of(file).bytes == bytes(2 * cluster, 7));

    f.format_of(top).allocated.clear();
    f.memory_of(file).failing = {"write"};
    CHECK(read(0, copying).error() == Errno::io);  // what cannot be stored is not read
}

TEST_CASE("requests: a graph too deep for the stack is an error", "[requests]") {
    GraphFixture f;
    Node* node = &f.memory("n");
    for (int i = 0; i < 3000; ++i) node = &f.filter(fmt::format("f{}", i), *node);
    BlockBackend& guest = f.user(*node, "CWR", "ALL", "D");
    auto data = bytes(512, 1);
    f.run([&](sim::Co& co) {
        CHECK(guest.read(co, 0, std::span<std::byte>(data)).error() == Errno::no_memory);
        CHECK(guest.write(co, 0, std::span<std::byte>(data)).error() == Errno::no_memory);
        CHECK(guest.write_zeroes(co, 0, 512).error() == Errno::no_memory);
        CHECK(guest.root()->block_status(co, 0, 512).error() == Errno::no_memory);
        CHECK(guest.flush(co).error() == Errno::no_memory);
        CHECK(!guest.truncate(co, 512, true));
    });
}

}  // namespace
}  // namespace blocklayer
