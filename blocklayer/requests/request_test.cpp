// SPDX-License-Identifier: Apache-2.0
// Holds:   a node reads as what was written to it, whatever its driver's limits; drivers see only
//          requests within their limits; every request needs the permission it says.
// Method:  random requests on nodes of random limits against an array of bytes; each kind of
//          request through edges that lack each permission.
#include "blocklayer/requests/request.hpp"

#include "blocklayer/graph/dirty_bitmap.hpp"
#include "blocklayer/testing/graph_fixture.hpp"
#include "sim/testing/catch.hpp"

namespace blocklayer {
namespace {

using testing::DriverCall;
using testing::GraphFixture;
using testing::MemoryDriver;
using testing::perms;

Limits random_limits(sim::RandomStream& random) {
    Limits limits;
    limits.request_alignment = 1u << random.below(13);
    if (random.chance(1, 2)) limits.max_transfer = limits.request_alignment * (1 + random.below(4));
    if (random.chance(1, 3)) limits.pwrite_zeroes_alignment = 1u << (9 + random.below(5));
    if (random.chance(1, 3)) limits.max_pwrite_zeroes = 4096 * (1 + random.below(4));
    if (random.chance(1, 3)) limits.pdiscard_alignment = 1u << (9 + random.below(5));
    limits.supports_fua = random.chance(1, 2);
    limits.zeroes_supports_fua = random.chance(1, 2);
    limits.zeroes_may_unmap = random.chance(1, 2);
    return limits;
}

void check_call(const DriverCall& call, const Limits& limits) {
    INFO(call.request << " of " << call.length << " at " << call.offset);
    if (call.request == "flush") return;
    const std::uint64_t align = limits.request_alignment;
    CHECK(call.length > 0);
    CHECK(call.offset % align == 0);
    CHECK(call.length % align == 0);
    if ((call.request == "read" || call.request == "write") && limits.max_transfer != 0)
        CHECK(call.length <= limits.max_transfer);
    if (call.request == "zero" && limits.max_pwrite_zeroes != 0)
        CHECK(call.length <= std::max<std::uint64_t>({limits.max_pwrite_zeroes, align,
                                                      limits.pwrite_zeroes_alignment}));
    if (call.request == "write" && !limits.supports_fua) CHECK(!call.flags.has(RequestFlag::fua));
    if (call.request == "zero" && !limits.zeroes_supports_fua)
        CHECK(!call.flags.has(RequestFlag::fua));
    if (call.request == "zero" && !limits.zeroes_may_unmap)
        CHECK(!call.flags.has(RequestFlag::may_unmap));
}

// Everything written from this call on was either written through or flushed later.
bool durable(const MemoryDriver& driver, std::size_t from) {
    bool settled = true;
    for (std::size_t i = from; i < driver.calls.size(); ++i) {
        const DriverCall& call = driver.calls[i];
        if (call.request == "flush")
            settled = true;
        else if (call.request != "read" && !call.flags.has(RequestFlag::fua))
            settled = false;
    }
    return settled;
}

TEST_CASE("requests: any request on any driver is as on an array of bytes", "[requests]") {
    constexpr std::uint64_t size = 64 * 1024;
    for (std::uint64_t seed = 1; seed <= 40; ++seed) {
        INFO("seed " << seed);
        GraphFixture f(seed);
        sim::RandomStream random(seed, "request test");
        Node& n = f.memory("n", size);
        MemoryDriver& driver = f.memory_of(n);
        driver.given = random_limits(random);
        driver.zeroes_supported = random.chance(1, 2);
        f.layer.refresh_limits(n);
        BlockBackend& guest = f.user(n, "CWR", "ALL", "D");
        std::vector<std::byte> model(size);
        std::size_t seen = 0;  // driver calls of the steps before
        f.run([&](sim::Co& co) {
            for (int step = 0; step < 25; ++step) {
                const std::uint64_t offset = random.below(size);
                const std::uint64_t length =
                    std::min(size - offset, random.below(random.chance(1, 2) ? 600 : 20000));
                const auto at = model.begin() + static_cast<std::ptrdiff_t>(offset);
                std::vector<std::byte> data(length);
                for (std::byte& byte : data) byte = static_cast<std::byte>(random.next());
                RequestFlags flags;
                if (random.chance(1, 3)) flags = flags | RequestFlag::fua;
                if (random.chance(1, 3)) flags = flags | RequestFlag::may_unmap;
                INFO("step " << step << ": " << length << " bytes at " << offset);
                switch (random.below(4)) {
                case 0:
                    REQUIRE(guest.write(co, offset, std::span<std::byte>(data),
                                        flags.without(RequestFlag::may_unmap)));
                    std::copy(data.begin(), data.end(), at);
                    break;
                case 1:
                    REQUIRE(guest.write_zeroes(co, offset, length, flags));
                    std::fill_n(at, length, std::byte{0});
                    break;
                case 2: {
                    // Both halves of one request, scattered.
                    sim::IoVec pieces[] = {{data.data(), length / 3},
                                           {data.data() + length / 3, length - length / 3}};
                    REQUIRE(
                        guest.read(co, offset, sim::IoView(std::span<const sim::IoVec>(pieces))));
                    REQUIRE(std::equal(data.begin(), data.end(), at));
                    break;
                }
                default: REQUIRE(guest.flush(co));
                }
                if (flags.has(RequestFlag::fua)) CHECK(durable(driver, seen));
                seen = driver.calls.size();
            }
        });
        CHECK(std::equal(model.begin(), model.end(), driver.bytes.begin()));
        for (const DriverCall& call : driver.calls) check_call(call, driver.given);
        CHECK(n.in_flight() == 0);
        CHECK(n.tracked().empty());
    }
}

// ---- permissions ------------------------------------------------------------------------------

struct Kind {
    const char* name;
    PermSet sufficient_one, sufficient_other;  // either of them will do
    std::function<void(sim::Co&, Edge&)> send;
};

std::vector<Kind> kinds_of_request() {
    static std::vector<std::byte> data(512);
    const PermSet none = perms("ALL");
    const auto view = [] { return sim::IoView(std::span<std::byte>(data)); };
    return {
        {"read", perms("C"), none, [=](sim::Co& co, Edge& e) { (void)e.read(co, 0, view()); }},
        {"read", perms("CU"), perms("CW"),
         [=](sim::Co& co, Edge& e) { (void)e.read(co, 0, view(), RequestFlag::copy_on_read); }},
        {"write", perms("W"), none, [=](sim::Co& co, Edge& e) { (void)e.write(co, 0, view()); }},
        {"write", perms("W"), perms("U"),
         [=](sim::Co& co, Edge& e) { (void)e.write(co, 0, view(), RequestFlag::write_unchanged); }},
        {"write", perms("WR"), none,
         [=](sim::Co& co, Edge& e) { (void)e.write(co, e.child().length(), view()); }},
        {"write zeroes", perms("W"), none,
         [](sim::Co& co, Edge& e) { (void)e.write_zeroes(co, 0, 512); }},
        {"write zeroes", perms("W"), perms("U"),
         [](sim::Co& co, Edge& e) {
             (void)e.write_zeroes(co, 0, 512, RequestFlag::write_unchanged);
         }},
        {"write zeroes", perms("WR"), none,
         [](sim::Co& co, Edge& e) { (void)e.write_zeroes(co, e.child().length(), 512); }},
        {"discard", perms("W"), none, [](sim::Co& co, Edge& e) { (void)e.discard(co, 0, 512); }},
        {"make empty", perms("W"), perms("U"),
         [](sim::Co& co, Edge& e) { (void)e.make_empty(co); }},
        {"truncate", perms("R"), none,
         [](sim::Co& co, Edge& e) { (void)e.truncate(co, 1 << 20, true, "off"); }},
        {"read",
         {},
         none,
         [=](sim::Co& co, Edge& e) { (void)e.read(co, 0, view(), RequestFlag::inconsistent_ok); }},
        {"flush", {}, none, [](sim::Co& co, Edge& e) { (void)e.flush(co); }},
        {"block status", {}, none, [](sim::Co& co, Edge& e) { (void)e.block_status(co, 0, 512); }},
    };
}

// What the run stops with; empty when the request was let through.
std::string violation(const Kind& kind, PermSet used) {
    GraphFixture f;
    Node& n = f.memory("n");
    BlockBackend& guest = f.user(n, used == PermSet::all() ? "ALL" : to_letters(used), "ALL", "D");
    try {
        f.run([&](sim::Co& co) { kind.send(co, *guest.root()); });
    } catch (const sim::AssertionFailure& failure) {
        return failure.what();
    }
    return {};
}

TEST_CASE("requests: each needs its permission, named with edge and holder", "[requests]") {
    for (const Kind& kind : kinds_of_request()) {
        for (unsigned bits = 0; bits < 16; ++bits) {
            const PermSet used = PermSet::from_bits(bits);
            INFO(kind.name << " with " << to_letters(used));
            const std::string text = violation(kind, used);
            const bool granted =
                used.contains(kind.sufficient_one) || used.contains(kind.sufficient_other);
            CHECK(text.empty() == granted);
            if (granted) continue;
            CHECK(text.find(kind.name) != std::string::npos);
            CHECK(text.find("by block device 'D' through its 'root' edge to node 'n' needs '") !=
                  std::string::npos);
            CHECK(text.find("the edge has " + to_letters(used)) != std::string::npos);
        }
    }
}

TEST_CASE("requests: a read may be inconsistent all the way down", "[requests]") {
    GraphFixture f;
    Node& base = f.memory("base");
    Node& mid = f.format("mid", f.memory("midf"), &base, /*read_only=*/true);
    Node& filter = f.filter("filter", mid);
    Node& top = f.format("top", f.memory("topf"), &filter);
    BlockBackend& reader = f.user(top, "W", "ALL", "D");
    CHECK(f.edge(top, "backing").claim().used.empty());
    std::vector<std::byte> data(512);
    f.run([&](sim::Co& co) {
        REQUIRE(reader.read(co, 0, std::span<std::byte>(data), RequestFlag::inconsistent_ok));
        // And what a write needs of the cluster it is part of is read as well as granted.
        REQUIRE(reader.write(co, 100, std::span<std::byte>(data)));
    });
    CHECK(f.memory_of(base).calls.size() == 2);
}

TEST_CASE("requests: a read-only node is not written to", "[requests]") {
    GraphFixture f;
    Node& n = f.memory("n", 1 << 20, /*read_only=*/true);
    BlockBackend& guest = f.user(n, "CR", "ALL", "D");
    f.run([&](sim::Co& co) {
        const Status status = guest.truncate(co, 0, true);
        REQUIRE(!status);
        CHECK(status.error().text == "Image is read-only");
    });
    CHECK(n.length() == 1 << 20);
}

// ---- what a finished change leaves ------------------------------------------------------------

TEST_CASE("requests: changes are marked dirty when they end, also failed ones", "[requests]") {
    GraphFixture f;
    Node& n = f.memory("n");
    n.dirty_bitmaps().push_back(std::make_unique<DirtyBitmap>("b", n.length(), 4096));
    DirtyBitmap& bitmap = *n.dirty_bitmaps().front();
    std::uint64_t dirty_inside = 1;
    f.memory_of(n).before = [&](sim::Co&, const DriverCall&) {
        dirty_inside = bitmap.dirty_granules();
    };
    BlockBackend& guest = f.user(n, "CW", "ALL", "D");
    std::vector<std::byte> data(4096);
    f.run([&](sim::Co& co) {
        const auto marks = [&](auto&& request) {
            bitmap.clear(0, n.length());
            dirty_inside = 1;
            request();
            CHECK(dirty_inside == 0);
            return bitmap.dirty_granules();
        };
        CHECK(marks([&] { (void)guest.write(co, 0, std::span<std::byte>(data)); }) == 1);
        CHECK(marks([&] { (void)guest.write_zeroes(co, 100, 4096); }) == 2);
        CHECK(marks([&] { (void)guest.read(co, 0, std::span<std::byte>(data)); }) == 0);
        f.memory_of(n).failing = {"write"};
        CHECK(marks([&] {
                  CHECK(guest.write(co, 0, std::span<std::byte>(data)).error() == Errno::io);
              }) == 1);
    });
}

TEST_CASE("requests: two writes to one block keep both", "[requests]") {
    // Read-modify-write of one block, interleaved: the second has to wait for the first.
    GraphFixture f;
    Node& n = f.memory("n");
    MemoryDriver& driver = f.memory_of(n);
    driver.given.request_alignment = 4096;
    f.layer.refresh_limits(n);
    driver.before = [](sim::Co& co, const DriverCall&) { co.yield("slow driver"); };
    BlockBackend& guest = f.user(n, "CW", "ALL", "D");
    int ended = 0;
    for (int i = 0; i < 8; ++i)
        f.world.spawn(f.world.main_thread(), "writer", [&, i](sim::Co& co) {
            const std::byte one{static_cast<std::uint8_t>(i + 1)};
            CHECK(guest.write(co, static_cast<std::uint64_t>(i), std::span(&one, 1)));
            ++ended;
        });
    f.world.run_until_idle();
    CHECK(ended == 8);
    for (int i = 0; i < 8; ++i)
        CHECK(driver.bytes[i] == std::byte{static_cast<std::uint8_t>(i + 1)});
}

}  // namespace
}  // namespace blocklayer
