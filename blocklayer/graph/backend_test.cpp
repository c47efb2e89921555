// SPDX-License-Identifier: Apache-2.0
// Holds:   a backend keeps its wish without a medium, refuses what lies outside, waits while
//          drained and does about errors what its policy says.
// Method:  backends on test drivers; every policy with every error.
#include "blocklayer/graph/backend.hpp"

#include "blocklayer/graph/drain.hpp"
#include "blocklayer/testing/graph_fixture.hpp"
#include "sim/testing/catch.hpp"

namespace blocklayer {
namespace {

using testing::conflict;
using testing::GraphFixture;
using testing::perms;

std::string text_of(const Status& status) { return status ? "ok" : status.error().text; }

TEST_CASE("backend: the wish outlives the medium", "[backend]") {
    GraphFixture f;
    Node& n = f.memory("n");
    auto drive = BlockBackend::make(f.layer, {perms("C"), PermSet::all()}, "drv");
    CHECK(drive->describe() == "block device 'drv'");
    CHECK(!drive->has_medium());
    CHECK(drive->length() == 0);
    REQUIRE(drive->set_wish({perms("CW"), perms("CU")}));
    REQUIRE(drive->insert(n));
    CHECK(drive->root()->claim() == Claim{perms("CW"), perms("CU")});
    CHECK(drive->length() == n.length());

    f.user(n, "", "ALL", "E");
    CHECK(text_of(drive->set_wish({perms("C"), perms("C")})) == "ok");
    drive->remove();
    CHECK(n.parents().size() == 1);
    f.user(n, "CW", "CU", "F");
    CHECK(text_of(drive->insert(n)) ==
          conflict("n", "write", "block device 'F'", "root", "block device 'drv'", "root"));
    REQUIRE(drive->set_wish({perms("W"), PermSet::all()}));
    CHECK(text_of(drive->insert(n)) ==
          conflict("n", "write", "block device 'drv'", "root", "block device 'F'", "root"));
    CHECK(!drive->has_medium());
    CHECK(f.layer.find_backend("drv") == drive.get());
    drive.reset();
    CHECK(f.layer.find_backend("drv") == nullptr);
    f.check();
}

TEST_CASE("backend: what a device says of a medium", "[backend]") {
    GraphFixture f;
    Node& n = f.memory("n");
    auto drive = BlockBackend::make(f.layer, {});
    std::string log;
    bool refuse = false;
    REQUIRE(drive->attach_device("D", "/machine/D", {.change_media = [&](bool load) -> Status {
                                     log += load ? "load " : "eject ";
                                     if (refuse) return failure("not this one");
                                     return {};
                                 }}));
    CHECK(text_of(drive->attach_device("E", "/machine/E", {})) ==
          "Drive '' is already in use by another device");
    REQUIRE(drive->insert(n));
    drive->remove();
    refuse = true;
    CHECK(text_of(drive->insert(n)) == "not this one");
    CHECK(log == "load eject load ");
    CHECK(n.parents().empty());
    drive->detach_device();
    CHECK(drive->describe() == "an unnamed block device");
    f.check();
}

TEST_CASE("backend: another node for a live device", "[backend]") {
    GraphFixture f;
    Node& n = f.memory("n");
    Node& filter = f.filter("filter", n);
    Node& ro = f.memory("ro", 1 << 20, /*read_only=*/true);
    BlockBackend& guest = f.user(n, "CW", "CU", "D");
    REQUIRE(guest.replace(filter));
    CHECK(f.layer.graph().dump() ==
          "node 'filter' --file--> n CW / CU\n"
          "block device 'D' --root--> filter CW / CU\n");
    const std::string before = f.layer.graph().dump_whole();
    CHECK(text_of(guest.replace(ro)) == "Block node is read-only");
    CHECK(f.layer.graph().dump_whole() == before);
    CHECK(guest.node() == &filter);
    f.check();
}

TEST_CASE("backend: requests outside the medium", "[backend]") {
    GraphFixture f;
    Node& n = f.memory("n", 4096);
    BlockBackend& guest = f.user(n, "CWR", "ALL", "D");
    auto empty = BlockBackend::make(f.layer, {perms("CW"), PermSet::all()});
    std::vector<std::byte> data(1024);
    const sim::IoView view{std::span(data)};
    f.run([&](sim::Co& co) {
        CHECK(guest.read(co, 3072, view));
        CHECK(guest.read(co, 3073, view).error() == Errno::io);
        CHECK(guest.write(co, 4096, view).error() == Errno::io);
        CHECK(guest.write_zeroes(co, UINT64_MAX, 2).error() == Errno::io);
        CHECK(guest.discard(co, 0, UINT64_MAX).error() == Errno::io);
        CHECK(empty->read(co, 0, view).error() == Errno::no_medium);
        CHECK(empty->flush(co).error() == Errno::no_medium);
        CHECK(empty->truncate(co, 1, true).error().text == "No medium inserted");
        guest.allow_write_beyond_end = true;
        CHECK(guest.write(co, 4096, view));
    });
    CHECK(n.length() == 5120);
    CHECK(guest.statistics.rd_operations == 1);
    CHECK(guest.statistics.rd_bytes == 1024);
    CHECK(guest.statistics.invalid_rd == 1);
    CHECK(guest.statistics.invalid_wr == 2);
    CHECK(guest.statistics.wr_operations == 1);
}

TEST_CASE("backend: without a write cache every write is on the medium", "[backend]") {
    GraphFixture f;
    Node& n = f.memory("n");
    BlockBackend& guest = f.user(n, "CW", "ALL", "D");
    std::vector<std::byte> data(512);
    const auto requests = [&](bool cached) {
        guest.write_cache = cached;
        f.memory_of(n).calls.clear();
        f.run([&](sim::Co& co) {
            CHECK(guest.write(co, 0, sim::IoView(std::span(data))));
        });
        std::string names;
        for (const auto& call : f.memory_of(n).calls) names += call.request + " ";
        return names;
    };
    CHECK(requests(true) == "write ");
    CHECK(requests(false) == "write flush ");
}

TEST_CASE("backend: a job's requests go on while it is drained", "[backend]") {
    GraphFixture f;
    Node& n = f.memory("n");
    BlockBackend& job = f.user(n, "C", "ALL");
    job.queue_when_drained = false;
    std::vector<std::byte> data(512);
    f.run([&](sim::Co& co) {
        const DrainedSection section(co, n);
        CHECK(job.read(co, 0, sim::IoView(std::span(data))));
    });
    CHECK(job.in_flight() == 0);
}

TEST_CASE("backend: error policies", "[backend]") {
    GraphFixture f;
    BlockBackend& guest = f.user(f.memory("n"), "CW", "ALL", "D");
    guest.keeps_io_state = true;
    int stopped = 0;
    f.layer.stop_machine = [&] { ++stopped; };
    using enum OnError;
    struct Case {
        OnError policy;
        ErrorAction read_error, write_error, write_full;
    };
    const Case cases[] = {
        {report, ErrorAction::report, ErrorAction::report, ErrorAction::report},
        {ignore, ErrorAction::ignore, ErrorAction::ignore, ErrorAction::ignore},
        {stop, ErrorAction::stop, ErrorAction::stop, ErrorAction::stop},
        {enospc, ErrorAction::report, ErrorAction::report, ErrorAction::stop},
        {automatic, ErrorAction::report, ErrorAction::report, ErrorAction::stop},
    };
    for (const Case& one : cases) {
        INFO("policy " << static_cast<int>(one.policy));
        guest.rerror = guest.werror = one.policy;
        CHECK(guest.shows_io_state() ==
              (one.policy != OnError::report && one.policy != OnError::ignore));
        CHECK(guest.on_error(true, Errno::io) == one.read_error);
        CHECK(guest.on_error(false, Errno::io) == one.write_error);
        CHECK(guest.on_error(false, Errno::no_space) == one.write_full);
    }
    CHECK(stopped == 5);
    CHECK(guest.io_state == IoState::failed);  // of the first one that stopped the machine
    REQUIRE(f.events.size() == 15);
    CHECK(f.events[2].name == sim::Label("BLOCK_IO_ERROR"));
    CHECK(f.events[2].data ==
          Value::dict({{"device", ""},
                       {"node-name", "n"},
                       {"operation", "write"},
                       {"action", "report"},
                       {"reason", "No space left on device"}}));
    CHECK(f.events[14].data.at("action") == Value("stop"));
    CHECK(f.events[14].data.at("nospace") == Value(true));
}

}  // namespace
}  // namespace blocklayer
