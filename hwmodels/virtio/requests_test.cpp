// SPDX-License-Identifier: Apache-2.0
// Holds:   virtio-blk answers each kind of request, well formed or not, as the real program does.
// Method:  chains written by hand, against what the real program's device answered to the same.
#include "hwmodels/guest/bounce.hpp"
#include "hwmodels/guest/virtio_pci.hpp"
#include "hwmodels/testing/machine_fixture.hpp"
#include "hwmodels/virtio/pci_transport.hpp"
#include "sim/testing/catch.hpp"

namespace hwmodels {
namespace {

using blocklayer::Value;
using guest::Bounce;
using guest::VirtioPciDriver;
using testing::MachineFixture;

constexpr std::uint8_t untouched = 0xaa;
constexpr int broken = -1;

// A chain: header, out_data bytes the device reads, in_data it writes, the status byte.
struct Row {
    std::uint32_t type;
    std::uint64_t sector;
    std::uint32_t out_data, in_data;
    int status;
    std::uint64_t range_sector = 0;
    std::uint32_t range_sectors = 0, range_flags = 0;
};

constexpr std::uint32_t in = 0, out = 1, scsi_command = 2, flush = 4, get_id = 8, discard = 11,
                        zeroes = 13, barrier = 0x8000'0000;

// The disk has 2048 sectors.
const Row rows[] = {
    {in, 0, 0, 512, 0},
    {in, 0, 0, 100, 1},
    {in, 0, 0, 0, 0},
    {in, 2048, 0, 512, 1},
    {in, 2047, 0, 1024, 1},
    {in, 1ULL << 63, 0, 512, 1},
    {in, 0, 512, 0, 0},
    {out, 0, 512, 0, 0},
    {out, 0, 100, 0, 1},
    {out, 2048, 0, 0, 0},
    {out, 0, 0, 512, 0},
    {out, 0, 512, 512, 0},
    {scsi_command, 0, 0, 0, 1},
    {flush, 0, 0, 0, 0},
    {flush, 99999, 512, 0, 0},
    {flush | 1, 0, 0, 0, 0},
    {barrier, 0, 0, 0, 0},
    {0xffff'ffff, 0, 0, 16, 2},
    {get_id, 0, 0, 0, 0},
    {get_id, 0, 0, 1, 0},
    {get_id, 0, 0, 30, 0},
    {get_id, 0, 20, 0, 0},
    {10, 0, 0, 0, 2},
    {14, 0, 0, 0, 2},
    {discard, 0, 16, 0, 0, 0, 8},
    {discard, 0, 16, 0, 2, 0, 8, 1},
    {discard, 0, 16, 0, 2, 0, 8, 2},
    {discard, 0, 16, 0, 0, 2040, 8},
    {discard, 0, 16, 0, 1, 2041, 8},
    {discard, 0, 16, 0, 0, 2048, 0},
    {discard, 0, 16, 0, 1, 0, 0x400000},
    {discard, 0, 16, 0, 1, 1ULL << 60, 1},
    {discard, 0, 8, 0, broken},
    {discard, 0, 32, 0, 2},
    {discard, 0, 24, 0, 2},
    {discard, 0, 0, 0, broken},
    {discard, 0, 0, 16, broken},
    {zeroes, 0, 16, 0, 0, 0, 8},
    {zeroes, 0, 16, 0, 0, 0, 8, 1},
    {zeroes, 0, 16, 0, 2, 0, 8, 2},
    {zeroes, 0, 16, 0, 1, 2041, 8},
    {zeroes, 0, 16, 0, 0, 0, 0},
    {zeroes, 0, 8, 0, broken},
    {zeroes, 0, 32, 0, 2},
};

TEST_CASE("virtio-blk: requests are answered as the real program answers them", "[virtio_blk]") {
    MachineFixture vm;
    vm.memory("disk");
    REQUIRE(vm.add("virtio-blk-pci", "d", "disk",
                   Value::dict({{"serial", "abcdefghijklmnopqrstuvwxyz"}, {"addr", "4"}})) == "ok");
    vm.machine.resume();
    auto driver = *VirtioPciDriver::probe(vm.machine, pci_devfn(4, 0));
    const Bounce memory(vm.machine, 16384);
    for (const Row& row : rows) {
        INFO("type " << row.type << " sector " << row.sector << " out " << row.out_data << " in "
                     << row.in_data << " range " << row.range_sector << "+" << row.range_sectors
                     << " flags " << row.range_flags);
        vm.run([&](sim::Co& co) {
            REQUIRE(driver->negotiate(co, driver->device_features()));
            REQUIRE(driver->setup_queue(0, 16, [] {}));
            driver->driver_ok();
        });
        std::byte* bytes = memory.bytes();
        std::memset(bytes, 0, 16384);
        store(bytes, row.type);
        store(bytes + 8, row.sector);
        store(bytes + 16, untouched);
        std::byte* data = bytes + 64;
        store(data, row.range_sector);
        store(data + 8, row.range_sectors);
        store(data + 12, row.range_flags);
        const GuestAddress at = memory.address();
        std::vector<guest::Segment> chain{{at, 16, false}};
        if (row.out_data > 0) chain.push_back({at + 64, row.out_data, false});
        if (row.in_data > 0) chain.push_back({at + 8192, row.in_data, true});
        chain.push_back({at + 16, 1, true});
        driver->ring(0).add(0, chain);
        driver->kick(0);
        vm.world.run_until_idle();
        int answers = 0;
        std::uint32_t written = 0;
        driver->ring(0).poll([&](std::uint16_t, std::uint32_t n) {
            ++answers;
            written = n;
        });
        if (row.status == broken) {
            CHECK(driver->needs_reset());
            CHECK(answers == 0);
            continue;
        }
        CHECK(answers == 1);
        CHECK(int{load<std::uint8_t>(bytes + 16)} == row.status);
        CHECK(written == row.in_data + 1);
        if (row.type == get_id && row.in_data > 0) {
            const std::string text(reinterpret_cast<const char*>(bytes) + 8192,
                                   strnlen(reinterpret_cast<const char*>(bytes) + 8192, 64));
            CHECK(text == std::string("abcdefghijklmnopqrst").substr(0, row.in_data));
        }
    }
}

TEST_CASE("virtio-blk: features, configuration and reset values", "[virtio_blk]") {
    MachineFixture vm;
    vm.memory("disk");
    REQUIRE(vm.add("virtio-blk-pci", "d", "disk",
                   Value::dict({{"num-queues", 2}, {"addr", "4"}})) == "ok");
    vm.machine.resume();
    auto driver = *VirtioPciDriver::probe(vm.machine, pci_devfn(4, 0));
    CHECK(driver->device_features() == 0x10130007e54);
    CHECK(driver->queue_count() == 2);
    const std::uint64_t words[] = {0x800, 0,           0,        0xfe, 0x3f100002, 0x200,    0,
                                   0,     1 | 2 << 16, 0x3fffff, 1,    1,          0x3fffff, 1};
    for (std::uint32_t i = 0; i < std::size(words); ++i) {
        INFO("word " << i);
        CHECK(driver->config(4 * i, 4) == words[i]);
    }
    CHECK(driver->config(56, 1) == 1);
    CHECK(driver->config(56, 4) == 0xffff'ffff);  // reaches past the end
}

TEST_CASE("virtio-blk: one queue is reset while its requests run; the other goes on",
          "[virtio_blk]") {
    MachineFixture vm;
    auto& node = vm.memory("disk");
    REQUIRE(vm.add("virtio-blk-pci", "d", "disk",
                   Value::dict({{"num-queues", 2}, {"addr", "4"}})) == "ok");
    vm.machine.resume();
    vm.memory_of(node).before = [](sim::Co& co, const blocklayer::testing::DriverCall&) {
        co.sleep(sim::milliseconds(2));
    };
    auto driver = *VirtioPciDriver::probe(vm.machine, pci_devfn(4, 0));
    const Bounce memory(vm.machine, 4096);
    const GuestAddress at = memory.address();
    const guest::Segment chain[] = {{at, 16, false}, {at + 512, 512, true}, {at + 16, 1, true}};
    vm.run([&](sim::Co& co) {
        REQUIRE(driver->negotiate(co, driver->device_features()));
        for (std::size_t queue = 0; queue < 2; ++queue)
            REQUIRE(driver->setup_queue(queue, 16, [] {}));
        driver->driver_ok();
        std::memset(memory.bytes(), 0, 4096);
        for (std::size_t queue = 0; queue < 2; ++queue) {
            for (std::uint16_t slot = 0; slot < 3; ++slot) driver->ring(queue).add(slot, chain);
            driver->kick(queue);
        }
        co.sleep(sim::milliseconds(1));
        driver->write_common(virtio_pci::queue_select, 2, 0);
        driver->write_common(virtio_pci::queue_reset, 2, 1);
        CHECK(driver->common(virtio_pci::queue_reset, 2) == 1);
        driver->write_common(virtio_pci::queue_enable, 2, 1);  // not yet
        CHECK(driver->common(virtio_pci::queue_enable, 2) == 0);
        co.sleep(sim::milliseconds(3));
        CHECK(driver->common(virtio_pci::queue_reset, 2) == 0);
        CHECK(driver->common(virtio_pci::queue_desc, 8) == 0);
    });
    int answers[2] = {};
    for (std::size_t queue = 0; queue < 2; ++queue)
        driver->ring(queue).poll([&](std::uint16_t, std::uint32_t) { ++answers[queue]; });
    CHECK(answers[0] == 0);
    CHECK(answers[1] == 3);
}

}  // namespace
}  // namespace hwmodels
