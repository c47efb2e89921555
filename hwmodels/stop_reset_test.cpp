// SPDX-License-Identifier: Apache-2.0
// Holds:   whatever a disk's command has come to, when the machine stops nothing goes on below
//          until it runs again; then the command ends, once, and was done once. When the machine or
//          the device is reset, or the device taken out, the command ends once, nothing of it goes
//          on afterwards, and the next driver or command finds a device that works.
// Method:  one command on each model, and what ends it after every number of turns from before the
//          doorbell to the middle of its I/O.
#include <algorithm>
#include "hwmodels/ata/ahci.hpp"

#include "hwmodels/guest/ahci.hpp"
#include "hwmodels/guest/ide.hpp"
#include "hwmodels/guest/nvme.hpp"
#include "hwmodels/guest/open_disk.hpp"
#include "hwmodels/guest/virtio_scsi.hpp"
#include "hwmodels/testing/machine_fixture.hpp"
#include "sim/testing/catch.hpp"

namespace hwmodels {
namespace {

using blocklayer::Value;
using blocklayer::testing::DriverCall;
using guest::ScsiGuestDisk;
using sim::Errno;
using sim::IoStatus;
using sim::Unexpected;
using testing::MachineFixture;
using testing::pattern;

constexpr std::uint64_t KiB = 1024;
constexpr int turns_max = 24;  // by then each model's command is in its I/O

// A machine with one disk on a device of this model; a write to its node takes 5 ms.
struct DiskFixture : MachineFixture {
    explicit DiskFixture(std::string_view model) : node(memory("disk", 64 * KiB)) {
        memory("spare", 64 * KiB);
        const auto cold = [&](const char* bus) {
            run([&](sim::Co& co) {
                REQUIRE(machine.add_device(
                    co,
                    Value::dict(
                        {{"driver", "ide-hd"}, {"id", "d"}, {"drive", "disk"}, {"bus", bus}}),
                    Plug::cold));
            });
        };
        if (model == "ide") cold("ide.0");
        if (model == "ich9-ahci") {
            REQUIRE(add("ich9-ahci", "hba", "") == "ok");
            cold("hba.0");
        }
        if (model == "nvme")
            REQUIRE(add("nvme", "d", "disk", Value::dict({{"serial", "s"}})) == "ok");
        if (model == "virtio-scsi-pci" || model == "lsi53c895a") {
            REQUIRE(add(std::string(model).c_str(), "hba", "") == "ok");
            REQUIRE(add("scsi-hd", "d", "disk") == "ok");
        }
        machine.resume();
        disk = open("d");
        memory_of(node).before = [this](sim::Co& co, const DriverCall& call) {
            if (call.request != "write") return;
            ++inside;
            co.sleep(sim::milliseconds(5));
            --inside;
        };
    }
    // A process of the guest that writes once.
    void begin_write() {
        world.spawn(machine.cpu(), "guest", [this](sim::Co& co) {
            status = disk->write(co, 0, pattern(4 * KiB, 1));
            ++ended;
        });
    }
    bool holds(std::uint64_t seed) {
        const auto data = seed == 0 ? std::vector<std::byte>(4 * KiB) : pattern(4 * KiB, seed);
        return std::equal(data.begin(), data.end(), memory_of(node).bytes.begin());
    }
    std::ptrdiff_t writes() {
        const auto& calls = memory_of(node).calls;
        return std::count_if(calls.begin(), calls.end(),
                             [](const DriverCall& call) { return call.request == "write"; });
    }
    // Another unit on the adapter.
    void plug_other(sim::Co& co) {
        REQUIRE(machine.add_device(
            co, Value::dict({{"driver", "scsi-hd"}, {"id", "other"}, {"drive", "spare"}})));
    }
    void check_works(sim::Co& co) {
        std::vector<std::byte> back(4 * KiB);
        REQUIRE(disk->write(co, 0, pattern(4 * KiB, 2)));
        REQUIRE(disk->read(co, 0, back));
        CHECK((back == pattern(4 * KiB, 2)));
        co.sleep(sim::milliseconds(20));
        CHECK(holds(2));
    }

    blocklayer::Node& node;
    std::unique_ptr<guest::GuestDisk> disk;
    IoStatus status;
    int ended = 0, inside = 0;
};

constexpr std::string_view models[] = {"ide", "ich9-ahci", "nvme", "virtio-scsi-pci", "lsi53c895a"};

// body(vm, co) after every number of turns; it gives whether the command was in its I/O by then.
template <class Body>
void at_every_moment(std::string_view model, Body body) {
    bool was_before = false, was_inside = false;
    for (int turns = 0; turns <= turns_max; ++turns) {
        INFO(model << ", after " << turns << " turns");
        DiskFixture vm(model);
        vm.begin_write();
        vm.run([&](sim::Co& co) {
            co.yield("as many turns", static_cast<std::uint64_t>(turns));
            (vm.inside > 0 ? was_inside : was_before) = true;
            body(vm, co);
        });
        vm.world.run_until_idle();
        CHECK(vm.ended == 1);
        vm.check();
    }
    CHECK((was_before && was_inside));
}

void stop_and_go_on(DiskFixture& vm, sim::Co& co) {
    vm.machine.stop(co);
    CHECK(vm.inside == 0);
    const auto calls = vm.memory_of(vm.node).calls;
    co.sleep(sim::milliseconds(20));
    CHECK((vm.memory_of(vm.node).calls == calls));
    vm.machine.resume();
    co.sleep(sim::milliseconds(20));
    CHECK(vm.ended == 1);
    CHECK(vm.status);
    CHECK(vm.writes() == 1);
    CHECK(vm.holds(1));
}

void reset_machine(DiskFixture& vm, sim::Co& co) {
    vm.machine.reset(co);
    CHECK(vm.inside == 0);
    const auto calls = vm.memory_of(vm.node).calls;
    const bool done = vm.holds(1);
    CHECK((done || vm.holds(0)));
    vm.disk->surprise_removed();
    co.sleep(sim::milliseconds(20));
    CHECK((vm.memory_of(vm.node).calls == calls));
    CHECK(vm.holds(done ? 1 : 0));
    CHECK(vm.ended == 1);
    CHECK((!vm.status || done));
    vm.disk.reset();  // one driver for a channel
    auto again = guest::open_disk(co, vm.machine, "d");
    REQUIRE(again.has_value());
    vm.disk = *std::move(again);
    vm.check_works(co);
}

void reset_device(std::string_view model, DiskFixture& vm, sim::Co& co) {
    const Device& drive = *vm.machine.find_device("d");
    if (model == "ide") REQUIRE(guest::IdeChannel::of(vm.machine, 0)->reset(co));
    if (model == "ich9-ahci") REQUIRE(guest::AhciPort::of(vm.machine, drive)->reset(co));
    if (model == "nvme") REQUIRE(dynamic_cast<guest::NvmeDisk&>(*vm.disk).reset(co));
    if (model == "virtio-scsi-pci") {
        auto adapter =
            guest::VirtioScsi::adapter_at(co, vm.machine, guest::pci_function_of(drive)->devfn);
        REQUIRE(adapter.has_value());
        REQUIRE((*adapter)->reset(co));
    }
    if (model == "lsi53c895a")  // ends its command at once; the next one waits for its I/O
        REQUIRE(dynamic_cast<ScsiGuestDisk&>(*vm.disk).path().reset(co, guest::ScsiReset::adapter));
    else
        CHECK(vm.inside == 0);
    // One that the driver had yet to send goes its way now; a canceled one must not come after.
    while (vm.ended == 0) co.sleep(sim::microseconds(1));
    vm.check_works(co);
    CHECK((vm.status || vm.status == Unexpected(Errno::canceled)));
}

TEST_CASE("stop: a machine that stops finishes what was begun, and goes on with the rest",
          "[stop_reset]") {
    for (const std::string_view model : models) at_every_moment(model, stop_and_go_on);
}

TEST_CASE("stop: a drained section whose end waits for the command does not hold it up",
          "[stop_reset]") {
    DiskFixture vm("nvme");
    bool ended = false;
    vm.run([&](sim::Co& co) {
        auto section = std::make_unique<blocklayer::DrainedSection>(co, vm.node);
        {
            const sim::MutexLock command(co, *vm.layer.control_lock());
            vm.world.spawn(vm.world.main_thread(), "a job completes", [&](sim::Co& inner) {
                const sim::MutexLock lock(inner, *vm.layer.control_lock());
                section.reset();
                ended = true;
            });
            vm.machine.stop(co);
        }
        while (!ended) co.yield("until the job has completed");
        CHECK(vm.machine.state() == RunState::paused);
        vm.machine.resume();
        vm.check_works(co);
    });
}

TEST_CASE("reset: nothing of a command goes on after a reset of the machine", "[stop_reset]") {
    for (const std::string_view model : models) at_every_moment(model, reset_machine);
}

TEST_CASE("reset: a device that is reset under its command works afterwards", "[stop_reset]") {
    for (const std::string_view model : models)
        at_every_moment(model,
                        [model](DiskFixture& vm, sim::Co& co) { reset_device(model, vm, co); });
}

// The port's start bit is cleared, and set again: what was issued before is forgotten.
void stop_port(DiskFixture& vm, sim::Co& co) {
    Device& drive = *vm.machine.find_device("d");
    const std::uint64_t port =
        guest::pci_function_of(drive)->bar_address(ahci::bar) + ahci::first_port;
    const auto write = [&](std::uint64_t reg, std::uint32_t value) {
        vm.machine.pci().memory_write(port + reg, 4, value);
    };
    write(ahci::port_command, 0);
    write(ahci::issued, 1);  // not to a port that stands still
    CHECK(vm.machine.pci().memory_read(port + ahci::issued, 4) == 0);
    const bool was_inside = vm.inside > 0;
    write(ahci::port_command, ahci::command_start | ahci::command_receive);
    co.sleep(sim::milliseconds(20));
    if (was_inside) {
        CHECK((vm.ended == 0 && vm.writes() == 1));
        write(ahci::issued, 1);  // the same again
        co.sleep(sim::milliseconds(20));
        CHECK((vm.ended == 1 && vm.status && vm.writes() == 2));
    }
    REQUIRE(guest::AhciPort::of(vm.machine, drive)->reset(co));
    while (vm.ended == 0) co.sleep(sim::microseconds(1));
    vm.check_works(co);
    CHECK((vm.status || vm.status == Unexpected(Errno::canceled)));
}

TEST_CASE("ahci: a port that is stopped under its command works when it is started again",
          "[ahci][stop_reset]") {
    at_every_moment("ich9-ahci", stop_port);
}

// The unit goes, its adapter and what else is on it stay.
void unplug_unit(DiskFixture& vm, sim::Co& co) {
    vm.machine.unplug(co, *vm.machine.find_device("d"));
    CHECK(vm.inside == 0);
    CHECK(vm.machine.find_device("d") == nullptr);
    const auto calls = vm.memory_of(vm.node).calls;
    while (vm.ended == 0) co.sleep(sim::microseconds(1));
    co.sleep(sim::milliseconds(20));
    CHECK((vm.memory_of(vm.node).calls == calls));
    CHECK((vm.holds(1) || (!vm.status && vm.holds(0))));
    CHECK_FALSE(vm.disk->flush(co));
    auto other = guest::open_disk(co, vm.machine, "other");
    REQUIRE(other.has_value());
    CHECK((*other)->write(co, 0, pattern(4 * KiB, 3)));
    (*other)->shut_down(co);
}

TEST_CASE("scsi: a unit that is taken out under its command is gone, and nothing else",
          "[virtio_scsi][lsi][stop_reset]") {
    for (const std::string_view model : {"virtio-scsi-pci", "lsi53c895a"})
        at_every_moment(model, [](DiskFixture& vm, sim::Co& co) {
            vm.plug_other(co);
            unplug_unit(vm, co);
            CHECK(vm.layer.find_node("disk")->parents().empty());
        });
}

}  // namespace
}  // namespace hwmodels
