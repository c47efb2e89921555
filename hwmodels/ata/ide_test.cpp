// SPDX-License-Identifier: Apache-2.0
// Holds:   disks and CD drives on the pc's IDE channels: data goes both ways, a reset under a
//          transfer writes nothing the guest did not ask for, the buses take no devices later.
// Method:  the guest's driver and registers on one side, a node that can fail and wait on the
// other.
#include "hwmodels/guest/ide.hpp"
#include "hwmodels/ata/piix.hpp"
#include "hwmodels/ata/wire.hpp"
#include "hwmodels/guest/ahci.hpp"
#include "hwmodels/guest/bounce.hpp"
#include "hwmodels/guest/open_disk.hpp"
#include "hwmodels/testing/machine_fixture.hpp"
#include "sim/mutant.hpp"
#include "sim/testing/catch.hpp"

namespace hwmodels {
namespace {

using blocklayer::Value;
using blocklayer::testing::conflict;
using blocklayer::testing::DriverCall;
using guest::GuestDisk;
using guest::IdeChannel;
using sim::Errno;
using sim::Unexpected;
using testing::MachineFixture;
using testing::pattern;

constexpr std::uint64_t KiB = 1024;

struct IdeFixture : MachineFixture {
    std::string cold(const char* driver, const char* id, const char* drive, Value more = {}) {
        Value arguments = Value::dict({{"driver", driver}, {"id", id}});
        if (*drive != '\0') arguments.set("drive", drive);
        if (more.is_dict())
            for (const auto& [name, value] : more.members()) arguments.set(name, value);
        return run([&](sim::Co& co) -> std::string {
            const auto done = machine.add_device(co, arguments, Plug::cold);
            return done ? "ok" : done.error().text;
        });
    }
    std::uint32_t in(std::uint32_t port, std::uint32_t size = 1) {
        return machine.ports().at(port)->port_read(port, size);
    }
    void out(std::uint32_t port, std::uint32_t value, std::uint32_t size = 1) {
        machine.ports().at(port)->port_write(port, size, value);
    }
};

TEST_CASE("ide: buses take no devices once the machine is there", "[ide]") {
    IdeFixture vm;
    vm.memory("n");
    CHECK(vm.add("ide-hd", "d", "n") == "Bus 'ide.1' does not support hotplugging");
    CHECK(vm.add("ide-cd", "d", "") == "Bus 'ide.1' does not support hotplugging");
    CHECK(vm.add("ide-hd", "d", "n", Value::dict({{"bus", "ide.0"}})) ==
          "Bus 'ide.0' does not support hotplugging");
    CHECK(vm.add("ide-hd", "d", "n", Value::dict({{"bus", "ide.7"}})) == "Bus 'ide.7' not found");
}

TEST_CASE("ide: what drives take of a node, and refuse", "[ide]") {
    IdeFixture vm;
    vm.memory("n");
    vm.memory("ro", 1024 * KiB, true);
    REQUIRE(vm.cold("ide-hd", "D1", "n") == "ok");
    CHECK(vm.root_claim("n") == "CW / CUR");
    CHECK(vm.cold("ide-hd", "D2", "n") ==
          conflict("n", "write", "block device 'D1'", "root", "block device 'D2'", "root"));
    CHECK(vm.cold("ide-cd", "D2", "n") ==
          conflict("n", "write", "block device 'D1'", "root", "block device 'D2'", "root"));
    CHECK(vm.cold("ide-hd", "D2", "ro") == "Block node is read-only");
    CHECK(vm.cold("ide-cd", "D2", "ro") == "ok");
    CHECK(vm.root_claim("ro") == "C / CU");
    CHECK(vm.cold("ide-cd", "D3", "ro", Value::dict({{"bus", "ide.1"}, {"unit", 0}})) ==
          "IDE unit 0 is in use");
    CHECK(vm.cold("ide-cd", "D3", "ro") == "ok");
}

TEST_CASE("ide: data, flush, discard take the whole way", "[ide]") {
    IdeFixture vm;
    auto& node = vm.memory("disk", 1024 * KiB);
    vm.memory("disc", 640 * KiB);
    REQUIRE(vm.cold("ide-hd", "d", "disk", Value::dict({{"bus", "ide.0"}})) == "ok");
    REQUIRE(vm.cold("ide-cd", "cd", "disc", Value::dict({{"bus", "ide.0"}})) == "ok");
    vm.machine.resume();
    auto disk = vm.open("d"), cd = vm.open("cd");
    CHECK(disk->length() == 1024 * KiB);
    CHECK(cd->length() == 640 * KiB);
    CHECK(cd->block_size() == 2048);
    vm.run([&](sim::Co& co) {
        const auto data = pattern(300 * KiB, 7);
        REQUIRE(disk->write(co, 4 * KiB, data));
        std::vector<std::byte> back(data.size());
        REQUIRE(disk->read(co, 4 * KiB, back));
        CHECK((back == data));
        REQUIRE(disk->flush(co));
        REQUIRE(disk->discard(co, 16 * KiB, 4 * KiB));
        REQUIRE(disk->write_zeroes(co, 8 * KiB, 4 * KiB, false));
        REQUIRE(disk->read(co, 8 * KiB, std::span(back).first(4 * KiB)));
        CHECK(back[0] == std::byte{0});
        CHECK(disk->read(co, 1024 * KiB, std::span(back).first(512)) == Unexpected(Errno::io));
        REQUIRE(cd->read(co, 2048, std::span(back).first(64 * KiB)));
        CHECK(cd->write(co, 0, std::span(back).first(2048)) == Unexpected(Errno::io));
    });
    const auto data = pattern(300 * KiB, 7);
    CHECK(std::equal(data.begin(), data.begin() + 4 * KiB,
                     vm.memory_of(node).bytes.begin() + 4 * KiB));
}

TEST_CASE("ide: the processor moves data through the data register", "[ide]") {
    IdeFixture vm;
    auto& node = vm.memory("disk", 1024 * KiB);
    REQUIRE(vm.cold("ide-hd", "d", "disk", Value::dict({{"bus", "ide.0"}})) == "ok");
    vm.machine.resume();
    // Registers after power on, and of a drive that is not there.
    CHECK(vm.in(0x1f1) == 0x01);
    CHECK((vm.in(0x1f2) == 1 && vm.in(0x1f3) == 1 && vm.in(0x1f7) == 0x50));
    vm.out(0x1f6, 0xb0);
    CHECK(vm.in(0x1f7) == 0);
    const auto data = pattern(1024, 3);
    const auto command = [&](std::uint8_t op) {
        vm.out(0x1f6, 0xe0);
        vm.out(0x1f2, 2);
        vm.out(0x1f3, 5);
        vm.out(0x1f4, 0);
        vm.out(0x1f5, 0);
        vm.out(0x1f7, op);
        vm.world.run_until_idle();
    };
    command(ata::write_sectors);
    for (std::size_t at = 0; at < data.size(); at += 2) {
        if (at == 512) vm.world.run_until_idle();
        CHECK((vm.in(0x3f6) & ata::status_data_request) != 0);
        vm.out(0x1f0, load<std::uint16_t>(&data[at]), 2);
    }
    vm.world.run_until_idle();
    CHECK(vm.in(0x1f7) == 0x50);
    CHECK(std::equal(data.begin(), data.end(), vm.memory_of(node).bytes.begin() + 5 * 512));
    command(ata::read_sectors);
    for (std::size_t at = 0; at < data.size(); at += 2) {
        if (at == 512) vm.world.run_until_idle();
        CHECK(vm.in(0x1f0, 2) == load<std::uint16_t>(&data[at]));
    }
    vm.world.run_until_idle();
    CHECK(vm.in(0x1f7) == 0x50);
    command(0xff);
    CHECK((vm.in(0x1f7) == 0x41 && vm.in(0x1f1) == ata::error_aborted));
}

TEST_CASE("ide: a reset under a transfer, and the medium is as the guest wrote it",
          "[ide][seeded]") {
    const bool broken = GENERATE(false, true);
    if (broken && !sim::mutants_built_in) return;
    if (broken) REQUIRE(sim::set_mutant("S01"));
    IdeFixture vm;
    auto& node = vm.memory("disk", 1024 * KiB);
    REQUIRE(vm.cold("ide-hd", "d", "disk", Value::dict({{"bus", "ide.0"}})) == "ok");
    vm.machine.resume();
    auto disk = vm.open("d");
    vm.run([&](sim::Co& co) { REQUIRE(disk->write(co, 0, pattern(4 * KiB, 1))); });
    const auto first = vm.memory_of(node).bytes;
    vm.memory_of(node).before = [](sim::Co& co, const DriverCall&) {
        co.sleep(sim::milliseconds(5));
    };
    bool canceled = false;
    vm.world.spawn(vm.machine.cpu(), "guest", [&](sim::Co& co) {
        canceled = disk->write(co, 64 * KiB, pattern(8 * KiB, 2)) == Unexpected(Errno::canceled);
    });
    vm.run([&](sim::Co& co) {
        co.sleep(sim::milliseconds(1));
        REQUIRE(IdeChannel::of(vm.machine, 0)->reset(co));
    });
    vm.world.run_until_idle();
    CHECK(canceled);
    const auto& now = vm.memory_of(node).bytes;
    const bool same = std::equal(first.begin(), first.begin() + 64 * KiB, now.begin());
    CHECK(same == !broken);
    if (broken) {
        sim::set_mutant("");
        return;
    }
    CHECK(vm.in(0x1f7) == 0x50);
    vm.run([&](sim::Co& co) { CHECK(disk->write(co, 0, pattern(4 * KiB, 3))); });
}

// The real program lets the write to the register wait for the transfer: afterwards the drive is
// ready, the interrupt is there, the bus master is not active and the memory is filled. Here such a
// write takes no time, and the bus master is active for as long.
TEST_CASE("ide: a bus master that is stopped is active until its transfer has ended", "[ide]") {
    IdeFixture vm;
    auto& node = vm.memory("disk", 1024 * KiB);
    vm.memory_of(node).bytes[0] = std::byte{7};
    REQUIRE(vm.cold("ide-hd", "d", "disk", Value::dict({{"bus", "ide.0"}})) == "ok");
    vm.machine.resume();
    auto disk = vm.open("d");  // sets the bus master up
    vm.world.run_until_idle();
    const guest::Bounce memory(vm.machine, 1 * KiB);
    store(memory.bytes() + 512, static_cast<std::uint32_t>(memory.address()));
    store(memory.bytes() + 516, piix::prd_last | 512U);
    int inside = 0;
    vm.slow_down(node, "read", inside);
    PciFunction& ide = *vm.machine.pci().at(1 << 3 | 1);
    const auto bus_master = [&](std::uint32_t reg) {
        return ide.bar_read(piix::bus_master_bar, reg, 1);
    };
    const auto begin = [&] {
        ide.bar_write(piix::bus_master_bar, piix::bm_table, 4, memory.address() + 512);
        ide.bar_write(piix::bus_master_bar, piix::bm_status, 1, piix::bm_interrupt);
        vm.out(0x1f6, 0xe0);
        vm.out(0x3f6, ata::control_no_interrupt);  // the driver would take it back
        vm.out(0x1f2, 1);
        for (const std::uint32_t port : {0x1f3, 0x1f4, 0x1f5}) vm.out(port, 0);
        vm.out(0x1f7, ata::read_dma);
    };
    const std::uint32_t start = piix::bm_start | piix::bm_to_memory;
    begin();
    vm.run([&](sim::Co& co) {
        co.sleep(sim::microseconds(10));
        CHECK(bus_master(piix::bm_status) == 0);  // it waits to be started
        ide.bar_write(piix::bus_master_bar, piix::bm_command, 1, start);
        co.sleep(sim::milliseconds(1));
        REQUIRE(inside == 1);
        ide.bar_write(piix::bus_master_bar, piix::bm_command, 1, 0);
        CHECK((bus_master(piix::bm_status) & piix::bm_active) != 0);
        CHECK(memory.bytes()[0] == std::byte{0});
        co.sleep(sim::milliseconds(20));
        CHECK(bus_master(piix::bm_status) == piix::bm_interrupt);
        CHECK(vm.in(0x3f6) == 0x50);
        CHECK(memory.bytes()[0] == std::byte{7});
    });
    begin();
    vm.run([&](sim::Co& co) {  // stopped before it begins: not active, and it waits
        ide.bar_write(piix::bus_master_bar, piix::bm_command, 1, start);
        ide.bar_write(piix::bus_master_bar, piix::bm_command, 1, 0);
        CHECK(bus_master(piix::bm_status) == 0);
        co.sleep(sim::milliseconds(20));
        CHECK((inside == 0 && (vm.in(0x3f6) & ata::status_busy) != 0));
        REQUIRE(IdeChannel::of(vm.machine, 0)->reset(co));
    });
}

TEST_CASE("ahci: data takes the whole way, and a port reset under a transfer harms nothing",
          "[ahci][seeded]") {
    IdeFixture vm;
    auto& node = vm.memory("disk", 1024 * KiB);
    vm.memory("disc", 640 * KiB);
    REQUIRE(vm.add("ich9-ahci", "ahci", "") == "ok");
    CHECK(vm.add("ide-hd", "d", "disk") == "Bus 'ahci.5' does not support hotplugging");
    REQUIRE(vm.cold("ide-hd", "d", "disk", Value::dict({{"bus", "ahci.0"}})) == "ok");
    REQUIRE(vm.cold("ide-cd", "cd", "disc", Value::dict({{"bus", "ahci.2"}})) == "ok");
    CHECK(vm.cold("ide-cd", "e", "", Value::dict({{"bus", "ahci.0"}, {"unit", 1}})) ==
          "Can't create IDE unit 1, bus supports only 1 units");
    vm.machine.resume();
    auto disk = vm.open("d"), cd = vm.open("cd");
    CHECK(cd->length() == 640 * KiB);
    vm.run([&](sim::Co& co) {
        const auto data = pattern(300 * KiB, 7);
        REQUIRE(disk->write(co, 4 * KiB, data));
        std::vector<std::byte> back(data.size());
        REQUIRE(disk->read(co, 4 * KiB, back));
        CHECK((back == data));
        REQUIRE(disk->flush(co));
        REQUIRE(disk->discard(co, 16 * KiB, 4 * KiB));
        CHECK(disk->read(co, 1024 * KiB, std::span(back).first(512)) == Unexpected(Errno::io));
        REQUIRE(disk->read(co, 0, std::span(back).first(512)));
        REQUIRE(cd->read(co, 2048, std::span(back).first(64 * KiB)));
    });
    disk.reset();  // one driver for a port
    const auto first = vm.memory_of(node).bytes;
    bool inside = false;
    vm.memory_of(node).before = [&](sim::Co& co, const DriverCall&) {
        inside = true;
        co.sleep(sim::milliseconds(5));
        inside = false;
    };
    vm.run([&](sim::Co& co) {
        guest::AhciPort port(vm.machine, *guest::pci_function_of(*vm.machine.find_device("d")), 0);
        const guest::Bounce memory(vm.machine, 8 * KiB);
        std::memset(memory.bytes(), 0x5a, 8 * KiB);
        bool canceled = false;
        vm.world.spawn(vm.machine.cpu(), "guest", [&](sim::Co& inner) {
            guest::AtaCommand command{.command = ata::write_dma,
                                      .lba = 128,
                                      .count = 16,
                                      .data = memory.address(),
                                      .length = 8 * KiB};
            canceled = port.run(inner, 0, command) == Unexpected(Errno::canceled);
            CHECK_FALSE(inside);  // or the drive would still use the command's memory
        });
        co.sleep(sim::milliseconds(1));
        REQUIRE(port.reset(co));
        co.sleep(sim::milliseconds(20));
        CHECK(canceled);
        CHECK(
            std::equal(first.begin(), first.begin() + 64 * KiB, vm.memory_of(node).bytes.begin()));
    });
}

TEST_CASE("ahci: an adapter that is pulled out takes its commands along", "[ahci]") {
    IdeFixture vm;
    auto& node = vm.memory("disk");
    REQUIRE(vm.add("ich9-ahci", "ahci", "") == "ok");
    REQUIRE(vm.cold("ide-hd", "d", "disk", Value::dict({{"bus", "ahci.0"}})) == "ok");
    vm.machine.resume();
    auto disk = vm.open("d");
    vm.memory_of(node).before = [](sim::Co& co, const DriverCall&) {
        co.sleep(sim::milliseconds(5));
    };
    int ended = 0;
    const auto write = [&](sim::Co& co) {
        CHECK(disk->write(co, 0, pattern(4 * KiB, 3)) == Unexpected(Errno::no_medium));
        ++ended;
    };
    vm.world.spawn(vm.machine.cpu(), "guest", write);
    vm.run([&](sim::Co& co) {
        co.sleep(sim::milliseconds(1));
        vm.machine.unplug(co, *vm.machine.find_device("ahci"));
        disk->surprise_removed();
    });
    vm.world.run_until_idle();
    CHECK(ended == 1);
    vm.run(write);
    CHECK(ended == 2);
    CHECK(vm.root_claim("disk").empty());
}

TEST_CASE("ide: errors are reported, ignored, or stop the machine until cont", "[ide]") {
    const char* policy = GENERATE("report", "ignore", "stop");
    IdeFixture vm;
    auto& node = vm.memory("disk");
    REQUIRE(vm.cold("ide-hd", "d", "disk", Value::dict({{"werror", policy}, {"bus", "ide.0"}})) ==
            "ok");
    vm.machine.resume();
    auto disk = vm.open("d");
    vm.memory_of(node).failing = {"write"};
    bool ended = false, ok = false;
    vm.world.spawn(vm.machine.cpu(), "guest", [&](sim::Co& co) {
        ok = disk->write(co, 0, pattern(4 * KiB, 3)).has_value();
        ended = true;
    });
    vm.world.run_until_idle();
    if (std::string_view(policy) == "stop") {
        CHECK_FALSE(ended);
        vm.memory_of(node).failing.clear();
        vm.machine.resume();
        vm.world.run_until_idle();
        CHECK(vm.memory_of(node).bytes[1] == pattern(4 * KiB, 3)[1]);
    }
    CHECK(ended);
    CHECK(ok == (std::string_view(policy) != "report"));
}

}  // namespace
}  // namespace hwmodels
