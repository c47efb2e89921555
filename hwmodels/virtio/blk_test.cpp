// SPDX-License-Identifier: Apache-2.0
// Holds:   what a guest writes through virtio-blk is on the node and comes back; every request is
//          answered exactly once, also across resets, stops and errors.
// Method:  the guest's driver on one side, a node that can fail and wait on the other.
#include "hwmodels/testing/machine_fixture.hpp"
#include "hwmodels/virtio/pci_transport.hpp"
#include "sim/testing/catch.hpp"

namespace hwmodels {
namespace {

using blocklayer::Value;
using blocklayer::testing::DriverCall;
using guest::BlkOptions;
using sim::Errno;
using sim::Unexpected;
using testing::MachineFixture;
using testing::pattern;

constexpr std::uint64_t KiB = 1024;

TEST_CASE("virtio-blk: data, flush, serial, zeroes and discard take the whole way",
          "[virtio_blk]") {
    const bool event_index = GENERATE(true, false), indirect = GENERATE(true, false);
    const std::uint32_t segment = GENERATE(0u, 512u, 1536u);
    MachineFixture vm;
    auto& node = vm.memory("disk", 1024 * KiB);
    REQUIRE(vm.add("virtio-blk-pci", "d", "disk",
                   Value::dict({{"serial", "abc123"}, {"num-queues", 3}})) == "ok");
    vm.machine.resume();
    BlkOptions options{.segment_bytes_max = segment};
    if (!event_index) options.features_off |= virtio::feature_event_index;
    if (!indirect) options.features_off |= virtio::feature_indirect;
    auto disk = vm.disk("d", options);
    CHECK(disk->queue_count() == 3);
    CHECK(disk->length() == 1024 * KiB);
    CHECK_FALSE(disk->read_only());
    vm.run([&](sim::Co& co) {
        const auto data = pattern(64 * KiB, 7);
        REQUIRE(disk->write(co, 4 * KiB, data));
        std::vector<std::byte> back(64 * KiB);
        REQUIRE(disk->read(co, 4 * KiB, back));
        CHECK(back == data);
        REQUIRE(disk->flush(co));
        CHECK(disk->serial(co) == std::string("abc123"));
        REQUIRE(disk->write_zeroes(co, 8 * KiB, 4 * KiB, true));
        REQUIRE(disk->discard(co, 16 * KiB, 4 * KiB));
        REQUIRE(disk->read(co, 8 * KiB, std::span(back).first(4 * KiB)));
        CHECK(back[0] == std::byte{0});
        // Past the end: the device's answer, nothing worse.
        CHECK(disk->read(co, 1024 * KiB, std::span(back).first(512)) == Unexpected(Errno::io));
        CHECK(disk->write(co, 1023 * KiB, data) == Unexpected(Errno::io));
    });
    const auto& bytes = vm.memory_of(node).bytes;
    const auto data = pattern(64 * KiB, 7);
    CHECK(std::equal(data.begin(), data.begin() + 4 * KiB, bytes.begin() + 4 * KiB));
}

TEST_CASE("virtio-blk: a doorbell has no effect while the machine stands still", "[virtio_blk]") {
    MachineFixture vm;
    vm.memory("disk");
    REQUIRE(vm.add("virtio-blk-pci", "d", "disk") == "ok");
    vm.machine.resume();
    auto disk = vm.disk("d");
    bool done = false;
    vm.run([&](sim::Co& co) { vm.machine.stop(co); });
    vm.world.spawn(vm.machine.cpu(), "guest", [&](sim::Co& co) {
        CHECK(disk->flush(co));
        done = true;
    });
    vm.world.run_until_idle();
    CHECK_FALSE(done);
    vm.machine.resume();
    vm.world.run_until_idle();
    CHECK(done);
    CHECK(vm.take_events() == "RESUME STOP RESUME");
}

TEST_CASE("virtio-blk: a read-only node makes a read-only disk", "[virtio_blk]") {
    MachineFixture vm;
    vm.memory("disk", 1024 * KiB, true);
    REQUIRE(vm.add("virtio-blk-pci", "d", "disk") == "ok");
    vm.machine.resume();
    auto disk = vm.disk("d");
    CHECK(disk->read_only());
    vm.run(
        [&](sim::Co& co) { CHECK(disk->write(co, 0, pattern(512, 1)) == Unexpected(Errno::io)); });
}

TEST_CASE("virtio-blk: a reset under requests answers none of them, and waits", "[virtio_blk]") {
    MachineFixture vm;
    auto& node = vm.memory("disk");
    REQUIRE(vm.add("virtio-blk-pci", "d", "disk") == "ok");
    vm.machine.resume();
    auto disk = vm.disk("d");
    int inside = 0;
    vm.slow_down(node, "read", inside);
    int answered = 0, canceled = 0;
    for (int i = 0; i < 8; ++i)
        vm.world.spawn(vm.machine.cpu(), "guest", [&, i](sim::Co& co) {
            std::vector<std::byte> data(512);
            const auto status = disk->read(co, 512 * static_cast<unsigned>(i), data);
            if (status == Unexpected(Errno::canceled)) ++canceled;
            ++answered;
        });
    vm.run([&](sim::Co& co) {
        co.sleep(sim::milliseconds(1));
        CHECK(inside == 8);
        REQUIRE(disk->reset(co));
        CHECK(inside == 0);  // the status read 0 only after the last of them
        REQUIRE(disk->flush(co));
    });
    vm.world.run_until_idle();
    CHECK(answered == 8);
    CHECK(canceled == 8);
}

TEST_CASE("virtio-blk: errors are reported, ignored, or stop the machine until cont",
          "[virtio_blk]") {
    struct Row {
        const char* policy;
        const char* events;
        bool ok;
    };
    const Row row = GENERATE(Row{"report", "RESUME BLOCK_IO_ERROR", false},
                             Row{"ignore", "RESUME BLOCK_IO_ERROR", true},
                             Row{"stop", "RESUME BLOCK_IO_ERROR STOP RESUME", true});
    const bool reads = GENERATE(true, false);
    MachineFixture vm;
    auto& node = vm.memory("disk");
    REQUIRE(vm.add("virtio-blk-pci", "d", "disk",
                   Value::dict({{reads ? "rerror" : "werror", row.policy}})) == "ok");
    vm.machine.resume();
    auto disk = vm.disk("d");
    vm.memory_of(node).failing = {"read", "write"};
    bool ended = false, ok = false;
    vm.world.spawn(vm.machine.cpu(), "guest", [&](sim::Co& co) {
        auto data = pattern(512, 3);
        ok = (reads ? disk->read(co, 0, data) : disk->write(co, 0, data)).has_value();
        ended = true;
    });
    vm.world.run_until_idle();
    if (std::string_view(row.policy) == "stop") {
        CHECK_FALSE(ended);
        CHECK(vm.machine.state() == RunState::io_error);
        vm.memory_of(node).failing.clear();
        vm.machine.resume();
        vm.world.run_until_idle();
        if (!reads) CHECK(vm.memory_of(node).bytes[1] == pattern(512, 3)[1]);
    }
    CHECK(ended);
    CHECK(ok == row.ok);
    CHECK(vm.take_events() == row.events);
}

TEST_CASE("virtio-blk: a failed request that waits for cont is dropped by a reset",
          "[virtio_blk]") {
    MachineFixture vm;
    auto& node = vm.memory("disk");
    REQUIRE(vm.add("virtio-blk-pci", "d", "disk", Value::dict({{"werror", "stop"}})) == "ok");
    vm.machine.resume();
    auto disk = vm.disk("d");
    vm.memory_of(node).failing = {"write"};
    vm.world.spawn(vm.machine.cpu(), "guest", [&](sim::Co& co) {
        CHECK(disk->write(co, 0, pattern(512, 3)) == Unexpected(Errno::no_medium));
    });
    vm.world.run_until_idle();
    vm.memory_of(node).failing.clear();
    vm.memory_of(node).calls.clear();
    vm.run([&](sim::Co& co) { vm.machine.reset(co); });
    disk->surprise_removed();
    vm.machine.resume();
    vm.world.run_until_idle();
    for (const DriverCall& call : vm.memory_of(node).calls) CHECK(call.request != "write");
}

TEST_CASE("virtio-blk: nonsense breaks the device until it is reset, never the host",
          "[virtio_blk]") {
    MachineFixture vm;
    vm.memory("disk");
    REQUIRE(vm.add("virtio-blk-pci", "d", "disk") == "ok");
    vm.machine.resume();
    auto disk = vm.disk("d");
    guest::Ring& ring = disk->transport().ring(0);
    // A chain with nothing the device could write its status to.
    const guest::Segment out[] = {{ring.used(), 16, false}};
    ring.add(0, out);
    disk->transport().ring_doorbell(0);
    vm.world.run_until_idle();
    CHECK(disk->transport().needs_reset());
    vm.run([&](sim::Co& co) {
        REQUIRE(disk->reset(co));
        CHECK_FALSE(disk->transport().needs_reset());
        CHECK(disk->flush(co));
    });
}

}  // namespace
}  // namespace hwmodels
