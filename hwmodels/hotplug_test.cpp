// SPDX-License-Identifier: Apache-2.0
// Holds:   a device comes and goes while its disk is in use, and nothing acknowledged is lost; a
//          guest may refuse, or be asleep; what it does not know of is taken out under its
//          requests.
// Method:  writers that check themselves, plug and unplug around them, under random schedules.
#include "hwmodels/guest/hotplug.hpp"
#include "hwmodels/guest/open_disk.hpp"
#include "hwmodels/testing/machine_fixture.hpp"
#include "sim/testing/catch.hpp"

namespace hwmodels {
namespace {

using blocklayer::Value;
using blocklayer::testing::DriverCall;
using guest::GuestDisk;
using sim::Errno;
using testing::MachineFixture;
using testing::pattern;

constexpr std::uint64_t piece = 4096, pieces = 32;

struct Writer {
    // Writes pieces in turn until told to stop or the disk is gone; remembers what was
    // acknowledged.
    void run(sim::Co& co, GuestDisk& disk, std::uint64_t seed) {
        for (std::uint64_t turn = seed; !stop; ++turn) {
            const std::uint64_t at = turn % pieces;
            const auto status = disk.write(co, at * piece, pattern(piece, turn));
            if (!status) {
                error = status.error();
                break;
            }
            acknowledged[at] = turn;
        }
        ended = true;
    }
    std::uint64_t acknowledged[pieces] = {};
    bool stop = false, ended = false;
    Errno error = Errno::perm;
};

int slot_of(MachineFixture& vm, const char* id) {
    return guest::pci_function_of(*vm.machine.find_device(id))->devfn >> 3;
}

sim::WorldOptions random_schedule(std::uint64_t seed) {
    sim::WorldOptions options;
    options.seed = seed;
    options.schedule = sim::random_schedule(seed);
    return options;
}

void slow_node(MachineFixture& vm, blocklayer::Node& node) {
    vm.memory_of(node).before = [](sim::Co& co, const DriverCall&) {
        co.sleep(sim::microseconds(300));
    };
}

TEST_CASE("hotplug: a disk is unplugged under load, and plugged again", "[hotplug]") {
    const std::uint64_t seed = GENERATE(range<std::uint64_t>(1, 9));
    INFO("seed " << seed);
    MachineFixture vm(random_schedule(seed));
    auto& node = vm.memory("disk");
    slow_node(vm, node);
    vm.machine.resume();
    guest::HotplugHandler handler(vm.machine);
    for (int round = 0; round < 2; ++round) {
        REQUIRE(vm.add("virtio-blk-pci", "d", "disk") == "ok");
        vm.world.run_until_idle();
        auto disk = vm.open("d");
        handler.add_disk(slot_of(vm, "d"), *disk);
        Writer writer;
        vm.world.spawn(vm.machine.cpu(), "guest",
                       [&](sim::Co& co) { writer.run(co, *disk, seed); });
        vm.run([&](sim::Co& co) { co.sleep(sim::milliseconds(3)); });
        (void)vm.take_events();
        REQUIRE(vm.remove("d") == "ok");
        CHECK(vm.machine.find_device("d") != nullptr);  // the guest has not agreed yet
        vm.world.run_until_idle();
        CHECK(writer.ended);
        CHECK(writer.error == Errno::no_medium);
        CHECK(vm.machine.find_device("d") == nullptr);
        CHECK(vm.take_events() == "DEVICE_DELETED DEVICE_DELETED:d");
        for (std::uint64_t at = 0; at < pieces; ++at) {
            if (writer.acknowledged[at] == 0) continue;
            const auto want = pattern(piece, writer.acknowledged[at]);
            const auto& bytes = vm.memory_of(node).bytes;
            CHECK(std::equal(want.begin(), want.end(),
                             bytes.begin() + static_cast<std::ptrdiff_t>(at * piece)));
        }
        CHECK(vm.root_claim("disk").empty());
        vm.check();
    }
}

TEST_CASE("hotplug: the guest refuses, and the disk goes on", "[hotplug]") {
    MachineFixture vm;
    vm.memory("disk");
    REQUIRE(vm.add("virtio-blk-pci", "d", "disk") == "ok");
    vm.machine.resume();
    guest::HotplugHandler handler(vm.machine, {.refuse = true});
    auto disk = vm.open("d");
    (void)vm.take_events();
    REQUIRE(vm.remove("d") == "ok");
    vm.world.run_until_idle();
    CHECK(vm.take_events() == "DEVICE_UNPLUG_GUEST_ERROR:d");
    vm.run([&](sim::Co& co) { CHECK(disk->write(co, 0, pattern(piece, 1))); });
    CHECK(vm.root_claim("disk") == "CW / CUR");
    handler.options.refuse = false;
    REQUIRE(vm.remove("d") == "ok");
    vm.world.run_until_idle();
    CHECK(vm.machine.find_device("d") == nullptr);
}

TEST_CASE("hotplug: a guest that sleeps keeps its disk until it is reset", "[hotplug]") {
    MachineFixture vm;
    auto& node = vm.memory("disk");
    slow_node(vm, node);
    REQUIRE(vm.add("virtio-blk-pci", "d", "disk") == "ok");
    vm.machine.resume();
    auto disk = vm.open("d");
    Writer writer;
    vm.world.spawn(vm.machine.cpu(), "guest", [&](sim::Co& co) { writer.run(co, *disk, 1); });
    REQUIRE(vm.remove("d") == "ok");
    vm.run([&](sim::Co& co) { co.sleep(sim::milliseconds(5)); });
    CHECK(vm.machine.find_device("d") != nullptr);
    CHECK(writer.acknowledged[1] != 0);
    (void)vm.take_events();
    vm.run([&](sim::Co& co) { vm.machine.reset(co); });
    CHECK(vm.machine.find_device("d") == nullptr);
    CHECK(vm.root_claim("disk").empty());
    disk->surprise_removed();
    vm.world.run_until_idle();
    CHECK(writer.ended);
    CHECK(vm.take_events() == "RESET DEVICE_DELETED DEVICE_DELETED:d");
}

TEST_CASE("hotplug: a driver that starts its device anew finds it gone, and says so", "[hotplug]") {
    MachineFixture vm;
    vm.memory("disk");
    REQUIRE(vm.add("virtio-blk-pci", "d", "disk") == "ok");
    vm.machine.resume();
    auto disk = vm.disk("d");
    REQUIRE(vm.remove("d") == "ok");
    vm.run([&](sim::Co& co) { vm.machine.reset(co); });
    REQUIRE(vm.machine.find_device("d") == nullptr);
    vm.run([&](sim::Co& co) {
        const blocklayer::Status started = disk->reset(co);
        REQUIRE_FALSE(started);
        CHECK(started.error().text == "the device refuses the features");
    });
    disk->surprise_removed();
}

TEST_CASE("hotplug: a SCSI unit goes at once, under its commands", "[hotplug]") {
    const std::uint64_t seed = GENERATE(range<std::uint64_t>(1, 9));
    INFO("seed " << seed);
    MachineFixture vm(random_schedule(seed));
    auto& node = vm.memory("disk");
    vm.memory("stays");
    slow_node(vm, node);
    REQUIRE(vm.add("virtio-scsi-pci", "hba", "") == "ok");
    REQUIRE(vm.add("scsi-hd", "d", "disk") == "ok");
    REQUIRE(vm.add("scsi-hd", "e", "stays") == "ok");
    vm.machine.resume();
    auto disk = vm.open("d"), stays = vm.open("e");
    Writer writers[3];
    for (Writer& writer : writers)
        vm.world.spawn(vm.machine.cpu(), "guest",
                       [&](sim::Co& co) { writer.run(co, *disk, seed); });
    vm.run([&](sim::Co& co) { co.sleep(sim::milliseconds(2)); });
    (void)vm.take_events();
    REQUIRE(vm.remove("d") == "ok");
    CHECK(vm.machine.find_device("d") == nullptr);
    vm.world.run_until_idle();
    for (const Writer& writer : writers) CHECK(writer.ended);
    CHECK(vm.take_events() == "DEVICE_DELETED:d");
    CHECK(vm.root_claim("disk").empty());
    REQUIRE(vm.add("scsi-hd", "d2", "disk") == "ok");
    auto again = vm.open("d2");
    vm.run([&](sim::Co& co) {
        CHECK(stays->write(co, 0, pattern(piece, 1)));
        CHECK(again->write(co, 0, pattern(piece, 1)));
    });
}

}  // namespace
}  // namespace hwmodels
