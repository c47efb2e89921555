// SPDX-License-Identifier: Apache-2.0
// Holds:   a guest that writes nonsense into the registers and command tables of IDE and AHCI harms
//          nobody: after a reset its drives work, and no other disk has changed.
// Method:  seeded random guests; then the guest's real driver.
#include "hwmodels/ata/ahci.hpp"
#include "hwmodels/ata/piix.hpp"
#include "hwmodels/ata/wire.hpp"
#include "hwmodels/guest/bounce.hpp"
#include "hwmodels/guest/open_disk.hpp"
#include "hwmodels/testing/machine_fixture.hpp"
#include "sim/rng.hpp"
#include "sim/testing/catch.hpp"

namespace hwmodels {
namespace {

using blocklayer::Value;
using testing::MachineFixture;
using testing::pattern;

constexpr std::uint64_t KiB = 1024, area_bytes = 16 * KiB;

constexpr std::uint8_t commands[] = {
    ata::read_sectors,        ata::write_sectors, ata::read_dma,
    ata::write_dma,           ata::identify,      ata::packet,
    ata::data_set_management, ata::flush,         ata::read_multiple,
    ata::write_dma_ext,       ata::set_multiple,  ata::device_reset,
    ata::identify_packet};

void cold(MachineFixture& vm, const char* driver, const char* id, const char* drive,
          const char* bus) {
    Value arguments = Value::dict({{"driver", driver}, {"id", id}, {"bus", bus}});
    if (*drive != '\0') arguments.set("drive", drive);
    vm.run([&](sim::Co& co) {
        REQUIRE(vm.machine.add_device(co, arguments, Plug::cold).has_value());
    });
}

// Any command, or one that exists; fields small enough to fit now and then.
std::uint8_t some_command(sim::RandomStream& random) {
    return random.chance(7, 8) ? commands[random.below(std::size(commands))]
                               : static_cast<std::uint8_t>(random.next());
}

void hostile_ide(MachineFixture& vm, sim::RandomStream& random, const guest::Bounce& area) {
    auto& ports = vm.machine.ports();
    const std::uint64_t master =
        vm.machine.pci().at(pci_devfn(1, 1))->bar_address(piix::bus_master_bar);
    for (int step = 0; step < 300; ++step) {
        const std::uint32_t base = piix::command_ports[random.below(2)];
        const auto out = [&](std::uint32_t port, std::uint32_t size, std::uint64_t value) {
            ports.at(port)->port_write(port, size, static_cast<std::uint32_t>(value));
        };
        switch (random.below(8)) {
        case 0: out(base + 7, 1, some_command(random)); break;
        case 1:
            for (std::uint32_t reg = 1; reg < 7; ++reg)
                out(base + reg, 1, random.chance(1, 2) ? random.below(4) : random.next());
            break;
        case 2:
            for (int i = 0; i < 256; ++i) (void)ports.at(base)->port_read(base, 2);
            break;
        case 3:
            for (int i = 0; i < 256; ++i) out(base, 2, random.next());
            break;
        case 4: vm.machine.pci().io_write(master + random.below(13), 1, random.next()); break;
        case 5:
            vm.machine.pci().io_write(master + 4 + 8 * random.below(2), 4, area.address());
            break;
        case 6: out(base + 0x206, 1, random.below(8)); break;
        default: (void)ports.at(base + 7)->port_read(base + 7, 1); break;
        }
        store(area.bytes() + 4 * random.below(64), random.chance(1, 2)
                                                       ? static_cast<std::uint32_t>(area.address())
                                                       : static_cast<std::uint32_t>(random.next()));
        if (random.chance(1, 2)) vm.world.run_until_idle();
    }
}

void hostile_ahci(MachineFixture& vm, sim::RandomStream& random, const guest::Bounce& area) {
    const std::uint64_t registers =
        guest::pci_function_of(*vm.machine.find_device("ahci"))->bar_address(ahci::bar);
    for (int step = 0; step < 300; ++step) {
        const std::uint64_t port =
            registers + ahci::first_port + ahci::port_bytes * random.below(3);
        const auto write = [&](std::uint64_t at, std::uint64_t value) {
            vm.machine.pci().memory_write(at, 4, value);
        };
        if (random.chance(1, 8)) {
            write(registers + 4 * random.below(1024), random.next());
        } else {
            std::byte* header = area.bytes() + 32 * random.below(4);
            std::byte* table = area.bytes() + 4096;
            store(header, static_cast<std::uint32_t>(random.below(4) << 16 | random.below(128)));
            store(header + 8, random.chance(15, 16) ? area.address() + 4096 : random.next());
            for (int i = 0; i < 192; ++i)
                table[i] = static_cast<std::byte>(random.chance(1, 4) ? random.next() : 0);
            table[0] = std::byte{random.chance(15, 16) ? ahci::fis_to_device : std::uint8_t{0}};
            table[1] = std::byte{random.chance(15, 16) ? ahci::fis_is_command : std::uint8_t{0}};
            table[2] = std::byte{some_command(random)};
            for (int i = 0; i < 4; ++i)
                store(table + ahci::table_regions + 16 * i,
                      random.chance(7, 8) ? area.address() + 8192 : random.next());
            write(port + ahci::list_base, area.address());
            write(port + ahci::fis_base, area.address() + 1024);
            if (random.chance(1, 4)) write(port + ahci::port_command, random.below(32));
            write(port + ahci::port_command, ahci::command_start | ahci::command_receive);
            write(port + ahci::issued, 1U << random.below(4));
        }
        if (random.chance(1, 16)) write(port + ahci::sata_control, random.below(2));
        if (random.chance(1, 2)) vm.world.run_until_idle();
    }
}

TEST_CASE("ata: random guests harm nobody", "[ata][hostile]") {
    const bool with_ahci = GENERATE(false, true);
    for (std::uint64_t seed = 1; seed <= 12; ++seed) {
        INFO("seed " << seed << (with_ahci ? ", AHCI" : ", IDE"));
        MachineFixture vm;
        auto& node = vm.memory("disk", 64 * KiB);
        auto& other = vm.memory("other", 64 * KiB);
        vm.memory_of(node).before = [](sim::Co& co, const blocklayer::testing::DriverCall&) {
            co.sleep(sim::microseconds(7));
        };
        REQUIRE(vm.add("ich9-ahci", "ahci", "") == "ok");
        cold(vm, "ide-hd", "d", "disk", with_ahci ? "ahci.0" : "ide.0");
        cold(vm, "ide-cd", "cd", "", with_ahci ? "ahci.1" : "ide.1");
        REQUIRE(vm.add("virtio-blk-pci", "innocent", "other") == "ok");
        const auto before = vm.memory_of(other).bytes;
        vm.machine.resume();
        sim::RandomStream random(seed, "hostile ata");
        {
            const guest::Bounce area(vm.machine, area_bytes);
            if (with_ahci)
                hostile_ahci(vm, random, area);
            else
                hostile_ide(vm, random, area);
            vm.world.run_until_idle();
            vm.run([&](sim::Co& co) { vm.machine.reset(co); });
        }
        vm.check();
        CHECK((vm.memory_of(other).bytes == before));
        vm.run([&](sim::Co& co) {
            auto disk = guest::open_disk(co, vm.machine, "d");
            INFO((disk ? "" : disk.error().text));
            REQUIRE(disk.has_value());
            CHECK((*disk)->write(co, 0, pattern(8 * KiB, seed)));
        });
    }
}

}  // namespace
}  // namespace hwmodels
