// SPDX-License-Identifier: Apache-2.0
// Holds:   disks behind an adapter that is not virtio: data goes both ways through its programs, it
//          accepts backing images, and programs without sense harm nobody.
// Method:  the guest's driver on one side, a node on the other; then random memory as programs.
#include "hwmodels/scsi/lsi.hpp"
#include "hwmodels/guest/bounce.hpp"
#include "hwmodels/guest/hotplug.hpp"
#include "hwmodels/guest/open_disk.hpp"
#include "hwmodels/guest/scsi.hpp"
#include "hwmodels/testing/machine_fixture.hpp"
#include "sim/rng.hpp"
#include "sim/testing/catch.hpp"

namespace hwmodels {
namespace {

using blocklayer::Value;
using guest::GuestDisk;
using sim::Errno;
using sim::Unexpected;
using testing::MachineFixture;
using testing::pattern;

constexpr std::uint64_t KiB = 1024;

// An adapter with one disk, over a node in memory.
struct LsiFixture : MachineFixture {
    explicit LsiFixture(std::uint64_t disk_bytes = 1024 * KiB) : node(memory("disk", disk_bytes)) {
        REQUIRE(add("lsi53c895a", "hba", "") == "ok");
        REQUIRE(add("scsi-hd", "d", "disk") == "ok");
        machine.resume();
    }
    blocklayer::Node& node;
};

TEST_CASE("lsi: data takes the whole way", "[lsi]") {
    MachineFixture vm;
    auto& node = vm.memory("disk", 4096 * KiB);
    vm.memory("disc", 640 * KiB);
    REQUIRE(vm.add("lsi53c895a", "hba", "") == "ok");
    REQUIRE(vm.add("scsi-hd", "d", "disk") == "ok");
    REQUIRE(vm.add("scsi-cd", "cd", "disc") == "ok");
    CHECK(vm.add("scsi-cd", "e", "", Value::dict({{"lun", 1}})) == "bad scsi device lun: 1");
    vm.machine.resume();
    auto disk = vm.open("d"), cd = vm.open("cd");
    CHECK(disk->length() == 4096 * KiB);
    CHECK(cd->block_size() == 2048);
    const auto data = pattern(1100 * KiB, 7);
    vm.run([&](sim::Co& co) {
        REQUIRE(disk->write(co, 8 * KiB, data));
        std::vector<std::byte> back(data.size());
        REQUIRE(disk->read(co, 8 * KiB, back));
        CHECK((back == data));
        REQUIRE(disk->flush(co));
        REQUIRE(disk->write_zeroes(co, 16 * KiB, 8 * KiB, true));
        REQUIRE(disk->discard(co, 64 * KiB, 8 * KiB));
        CHECK(disk->read(co, 4096 * KiB, std::span(back).first(4 * KiB)) == Unexpected(Errno::io));
        REQUIRE(cd->read(co, 2048, std::span(back).first(4 * KiB)));
    });
    CHECK(std::equal(data.begin(), data.begin() + 8 * KiB,
                     vm.memory_of(node).bytes.begin() + 8 * KiB));
}

TEST_CASE("lsi: a CD on a backing image, which virtio's adapter would not have", "[lsi]") {
    MachineFixture vm;
    auto& af = vm.memory("af");
    auto& bf = vm.memory("bf");
    auto& a = vm.format("a", af, nullptr, true);
    vm.format("b", bf, &a);
    REQUIRE(vm.add("lsi53c895a", "hba", "") == "ok");
    REQUIRE(vm.add("scsi-hd", "d", "b") == "ok");
    CHECK(vm.add("scsi-cd", "cd", "a") == "ok");
}

TEST_CASE("lsi: a reset ends the command at once, the next one waits for its I/O", "[lsi]") {
    const auto what = GENERATE(guest::ScsiReset::bus, guest::ScsiReset::adapter);
    LsiFixture vm;
    auto disk = vm.open("d");
    int inside = 0, ended = 0;
    vm.memory_of(vm.node).before = [&](sim::Co& co, const blocklayer::testing::DriverCall& call) {
        if (call.request != "write") return;
        CHECK(++inside == 1);
        co.sleep(sim::milliseconds(5));
        --inside;
    };
    vm.world.spawn(vm.machine.cpu(), "guest", [&](sim::Co& co) {
        CHECK(disk->write(co, 0, pattern(4 * KiB, 1)) == Unexpected(Errno::canceled));
        ++ended;
    });
    vm.run([&](sim::Co& co) {
        co.sleep(sim::milliseconds(1));
        CHECK(inside == 1);
        auto& path = dynamic_cast<guest::ScsiGuestDisk&>(*disk).path();
        CHECK(path.reset(co, guest::ScsiReset::unit) == Unexpected(Errno::not_supported));
        REQUIRE(path.reset(co, what));
        REQUIRE(disk->write(co, 0, pattern(4 * KiB, 2)));
        std::vector<std::byte> back(4 * KiB);
        REQUIRE(disk->read(co, 0, back));
        CHECK((back == pattern(4 * KiB, 2)));
    });
    CHECK(ended == 1);
}

TEST_CASE("lsi: the adapter is unplugged with its disk under load", "[lsi]") {
    LsiFixture vm;
    auto disk = vm.open("d");
    vm.check_unplug_under_load("hba", *disk, vm.node);
}

TEST_CASE("lsi: random programs and registers harm nobody", "[lsi][hostile]") {
    for (std::uint64_t seed = 1; seed <= 12; ++seed) {
        INFO("seed " << seed);
        LsiFixture vm(64 * KiB);
        vm.machine.pci().assign_addresses();
        PciFunction* function = guest::pci_function_of(*vm.machine.find_device("hba"));
        const std::uint64_t registers = function->bar_address(lsi::register_bar);
        sim::RandomStream random(seed, "hostile lsi");
        {
            const guest::Bounce area(vm.machine, 4 * KiB);
            const std::uint32_t firsts[] = {
                lsi::op_select_attention,
                lsi::op_move | lsi::message_out << 24 | 1,
                lsi::op_move | lsi::command << 24 | 10,
                lsi::op_move | lsi::data_out << 24 | 512,
                lsi::op_move | lsi::data_in << 24 | 512,
                lsi::op_move | lsi::status << 24 | 1,
                lsi::op_move | lsi::message_in << 24 | 1,
                lsi::op_jump | lsi::when_true,
                lsi::op_wait_disconnect,
                lsi::op_interrupt | lsi::when_true,
            };
            for (int step = 0; step < 100; ++step) {
                for (std::uint64_t at = 0; at < 256; at += 8) {
                    const bool wild = random.chance(1, 16);
                    store(area.bytes() + at,
                          wild ? static_cast<std::uint32_t>(random.next())
                               : firsts[(at / 8 + random.below(2)) % std::size(firsts)]);
                    store(area.bytes() + at + 4,
                          random.chance(1, 16)
                              ? static_cast<std::uint32_t>(random.next())
                              : static_cast<std::uint32_t>(area.address() + random.below(4 * KiB)));
                }
                for (int i = 256; i < 4096; ++i)
                    area.bytes()[i] = static_cast<std::byte>(
                        random.chance(1, 8) ? random.next() : random.below(2) * 0x28);
                vm.machine.pci().memory_write(registers + lsi::dsp, 4, area.address());
                if (random.chance(1, 2))
                    vm.machine.pci().memory_write(registers + random.below(1024 - 8),
                                                  1U << random.below(4), random.next());
                if (random.chance(3, 4)) vm.world.run_until_idle();
            }
            vm.world.run_until_idle();
        }
        vm.check();
        vm.run([&](sim::Co& co) { vm.machine.reset(co); });
        auto disk = vm.open("d");
        vm.run([&](sim::Co& co) { CHECK(disk->write(co, 0, pattern(8 * KiB, seed))); });
    }
}

}  // namespace
}  // namespace hwmodels
