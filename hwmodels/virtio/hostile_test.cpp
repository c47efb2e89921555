// SPDX-License-Identifier: Apache-2.0
// Holds:   a guest that writes nonsense into registers, rings, descriptors and command blocks harms
//          nobody: after a reset the device works, and a disk it has nothing to do with is as
//          before.
// Method:  seeded random guests, with and without indirect descriptors; then real drivers.
#include "hwmodels/guest/bounce.hpp"
#include "hwmodels/guest/open_disk.hpp"
#include "hwmodels/guest/virtio_pci.hpp"
#include "hwmodels/testing/machine_fixture.hpp"
#include "hwmodels/virtio/pci_transport.hpp"
#include "sim/rng.hpp"
#include "sim/testing/catch.hpp"

namespace hwmodels {
namespace {

using blocklayer::Value;
using guest::VirtioPciDriver;
using testing::MachineFixture;
using testing::pattern;

constexpr std::uint64_t area_bytes = 64 * 1024, disk_bytes = 64 * 1024;

class HostileGuest {
public:
    HostileGuest(MachineFixture& vm, sim::RandomStream& random, int slot, bool scsi)
        : vm_(vm),
          random_(random),
          scsi_(scsi),
          function_(*vm.machine.pci().at(pci_devfn(slot, 0))) {
        area_ = guest::heap_of(vm.machine).take(area_bytes);
        bytes_ = vm.machine.memory().span(area_, area_bytes);
    }

    void run(int steps) {
        start();
        for (int step = 0; step < steps; ++step) {
            one_step();
            if (random_.chance(4, 5)) vm_.run([&](sim::Co& co) { co.sleep(sim::microseconds(5)); });
        }
    }

private:
    // An address that may be anything, mostly one that is worth something.
    std::uint64_t address() {
        switch (random_.below(64)) {
        case 0: return random_.next();
        case 1: return vm_.machine.memory().size() - random_.below(64);
        case 2: return area_ + random_.below(area_bytes);  // perhaps a ring
        default: return area_ + area_bytes * 3 / 4 + random_.below(area_bytes / 4);
        }
    }
    std::uint32_t length() {
        switch (random_.below(24)) {
        case 0: return 0;
        case 1: return static_cast<std::uint32_t>(random_.next());
        case 2: return static_cast<std::uint32_t>(1 + random_.below(64));
        default: return static_cast<std::uint32_t>(512 << random_.below(4));
        }
    }
    void write(std::uint64_t offset, std::uint32_t size, std::uint64_t value) {
        const std::uint64_t base = function_.bar_address(virtio_pci::modern_bar);
        vm_.machine.pci().memory_write(base + offset, size, value);
    }
    std::uint64_t read(std::uint64_t offset, std::uint32_t size) {
        const std::uint64_t base = function_.bar_address(virtio_pci::modern_bar);
        return vm_.machine.pci().memory_read(base + offset, size);
    }

    // As a driver does it, with rings at the area's start, one page for each queue.
    void start() {
        using namespace virtio_pci;
        vm_.machine.pci().assign_addresses();
        write(device_status, 1, 0);
        write(device_status, 1, 3);
        std::uint64_t features = 0;
        for (std::uint32_t half = 0; half < 2; ++half) {
            write(device_feature_select, 4, half);
            features |= read(device_feature, 4) << (32 * half);
        }
        indirect_ = random_.chance(1, 2);
        if (!indirect_) features &= ~virtio::feature_indirect;
        if (random_.chance(1, 2)) features &= ~virtio::feature_event_index;
        for (std::uint32_t half = 0; half < 2; ++half) {
            write(driver_feature_select, 4, half);
            write(driver_feature, 4, features >> (32 * half) & 0xffff'ffff);
        }
        write(device_status, 1, 11);
        for (std::uint64_t queue = 0; queue < 4; ++queue) {
            write(queue_select, 2, queue);
            write(queue_size, 2, ring_size);
            write(queue_desc, 8, area_ + queue * 4096);
            write(queue_driver, 8, area_ + queue * 4096 + 1024);
            write(queue_device, 8, area_ + queue * 4096 + 2048);
            write(queue_enable, 2, 1);
            index_[queue] = 0;
        }
        std::memset(bytes_, 0, 4 * 4096);
        write(device_status, 1, 15);
    }

    void one_step() {
        std::uint64_t queue = random_.below(4);
        if (scsi_ && queue < 2 && random_.chance(3, 4)) queue += 2;
        if ((read(virtio_pci::device_status, 1) & virtio::status_needs_reset) != 0) {
            start();
        }
        switch (random_.below(64)) {
        case 0:
            write(random_.below(virtio_pci::bar_bytes), 1U << random_.below(4), random_.next());
            return;
        case 1: (void)read(random_.below(virtio_pci::bar_bytes), 1U << random_.below(4)); return;
        case 2: write(random_.below(0x40), 1U << random_.below(3), random_.below(16)); return;
        case 3:
            // Not its address: that may be put upon the neighbour's, which is the guest's right.
            function_.config_write(static_cast<std::uint32_t>(0x28 + random_.below(0xd8)), 2,
                                   static_cast<std::uint32_t>(random_.next()));
            function_.config_write(pci_config::command, 2,
                                   static_cast<std::uint32_t>(random_.next()));
            vm_.machine.pci().assign_addresses();
            return;
        case 4: bytes_[random_.below(area_bytes)] = static_cast<std::byte>(random_.next()); return;
        case 5:
        case 6: start(); return;
        case 7:
            write(virtio_pci::queue_select, 2, queue);
            write(virtio_pci::queue_reset, 2, 1);
            return;
        default: send(queue); return;
        }
    }

    // The fields of a request for one of the two devices, or bytes without a meaning.
    void fill_request(std::byte* request) {
        for (int i = 0; i < 64; ++i) request[i] = static_cast<std::byte>(random_.next());
        if (random_.chance(1, 8)) return;
        if (!scsi_) {
            constexpr std::uint32_t types[] = {0, 0, 0, 1, 1, 1, 4, 8, 11, 13};
            store(request, random_.chance(7, 8) ? types[random_.below(std::size(types))]
                                                : static_cast<std::uint32_t>(random_.below(16)));
            store(request + 8, random_.below(disk_bytes / 512 + 8));
            return;
        }
        std::memset(request, 0, 64);
        request[0] = std::byte{1};
        request[1] = static_cast<std::byte>(random_.chance(7, 8) ? 0 : random_.below(4));
        request[2] = std::byte{0x40};
        constexpr std::uint8_t ops[] = {0x28, 0x28, 0x28, 0x2a, 0x2a, 0x2a, 0x88, 0x8a, 0x41, 0x93,
                                        0x42, 0x12, 0x1a, 0x15, 0x25, 0x35, 0xa0, 0x00, 0x03, 0x43};
        std::byte* cdb = request + 19;
        for (int i = 1; i < 16; ++i) cdb[i] = static_cast<std::byte>(random_.below(3));
        cdb[0] = static_cast<std::byte>(random_.chance(7, 8) ? ops[random_.below(std::size(ops))]
                                                             : random_.below(256));
        if (random_.chance(1, 8)) return;
        for (const int high : {1, 2, 3, 4, 5, 6, 7, 10, 11, 12}) cdb[high] = std::byte{0};
    }

    struct Piece {
        std::uint64_t address;
        std::uint32_t length;
        bool device_writes;
    };
    // Pieces as the device wants them, unless something goes wrong with one of them.
    std::vector<Piece> pieces(GuestAddress request) {
        std::vector<Piece> list{{request, scsi_ ? 51U : 16U, false}};
        const bool in = random_.chance(1, 2);
        if (scsi_ && in) list.push_back({address(), 108, true});
        for (std::uint64_t i = random_.below(4); i > 0; --i)
            list.push_back({address(), random_.chance(1, 2) ? 512U : length(), in});
        if (scsi_ && !in) list.push_back({address(), 108, true});
        if (!scsi_) list.push_back({address(), 1, true});
        if (random_.chance(1, 24)) list[random_.below(list.size())].length = length();
        if (random_.chance(1, 24)) list[random_.below(list.size())].device_writes ^= true;
        return list;
    }

    void send(std::uint64_t queue) {
        std::byte* ring = bytes_ + queue * 4096;
        const std::uint64_t head = random_.below(ring_size);
        std::byte* request = bytes_ + 4 * 4096 + random_.below(1024);
        const GuestAddress request_at = area_ + static_cast<std::uint64_t>(request - bytes_);
        fill_request(request);
        auto list = pieces(request_at);
        if (scsi_ && queue == 0 && random_.chance(7, 8)) {  // task management
            std::memmove(request + 8, request, 8);
            store(request, std::uint32_t{0});
            store(request + 4, static_cast<std::uint32_t>(random_.below(9)));
            list = {{request_at, 24, false}, {address(), 1, true}};
        }
        std::byte* table = ring;
        std::uint64_t at = head, count = ring_size;
        if (indirect_ && random_.chance(1, 2)) {
            table = bytes_ + 8 * 4096 + random_.below(1024) * 16;
            put(ring + head * 16, area_ + static_cast<std::uint64_t>(table - bytes_),
                static_cast<std::uint32_t>(list.size() * 16), 4, 0);
            at = 0;
            count = list.size();
        }
        for (std::size_t i = 0; i < list.size(); ++i) {
            std::uint64_t flags = (i + 1 < list.size() ? 1 : 0) | (list[i].device_writes ? 2 : 0);
            if (random_.chance(1, 64)) flags = random_.below(8);
            const std::uint64_t next = (at + 1) % count;
            put(table + at * 16, list[i].address, list[i].length, flags,
                random_.chance(63, 64) ? next : random_.next());
            at = next;
        }
        const std::uint16_t index = index_[queue]++;
        store(ring + 1024 + 4 + 2 * (index % ring_size),
              static_cast<std::uint16_t>(random_.chance(31, 32) ? head : random_.next()));
        store(ring + 1024 + 2,
              static_cast<std::uint16_t>(random_.chance(31, 32) ? index + 1 : random_.next()));
        write(virtio_pci::notify_offset + 4 * queue, 2, queue);
    }
    static void put(std::byte* at, std::uint64_t address, std::uint32_t length, std::uint64_t flags,
                    std::uint64_t next) {
        store(at, address);
        store(at + 8, length);
        store(at + 12, static_cast<std::uint16_t>(flags));
        store(at + 14, static_cast<std::uint16_t>(next));
    }

    static constexpr std::uint64_t ring_size = 32;
    MachineFixture& vm_;
    sim::RandomStream& random_;
    bool scsi_, indirect_ = true;
    PciFunction& function_;
    GuestAddress area_;
    std::byte* bytes_;
    std::array<std::uint16_t, 4> index_{};
};

// Gives how many requests got as far as the node.
std::uint64_t hostile_run(std::uint64_t seed, bool scsi) {
    INFO("seed " << seed << (scsi ? ", virtio-scsi" : ", virtio-blk"));
    MachineFixture vm(seed);
    auto& node = vm.memory("disk", disk_bytes);
    auto& other = vm.memory("other", disk_bytes);
    if (scsi) {
        REQUIRE(vm.add("virtio-scsi-pci", "hba", "",
                       Value::dict({{"addr", "5"}, {"num_queues", 2}})) == "ok");
        REQUIRE(vm.add("scsi-hd", "d", "disk") == "ok");
        REQUIRE(vm.add("scsi-cd", "cd", "") == "ok");
    } else {
        REQUIRE(vm.add("virtio-blk-pci", "d", "disk",
                       Value::dict({{"addr", "5"}, {"num-queues", 4}})) == "ok");
    }
    REQUIRE(vm.add("virtio-blk-pci", "innocent", "other") == "ok");
    vm.memory_of(node).before = [](sim::Co& co, const blocklayer::testing::DriverCall&) {
        co.sleep(sim::microseconds(7));
    };
    const auto before = vm.memory_of(other).bytes;
    vm.machine.resume();
    sim::RandomStream random(seed, scsi ? "hostile scsi" : "hostile blk");
    HostileGuest guest(vm, random, 5, scsi);
    guest.run(400);
    vm.world.run_until_idle();
    vm.check();
    CHECK((vm.memory_of(other).bytes == before));
    const std::uint64_t served = vm.memory_of(node).calls.size();
    // Reset, then a driver that means well.
    vm.run([&](sim::Co& co) {
        vm.machine.reset(co);
        auto disk = guest::open_disk(co, vm.machine, "d");
        INFO((disk ? "" : disk.error().text));
        REQUIRE(disk.has_value());
        const auto data = pattern(8192, seed);
        REQUIRE((*disk)->write(co, 4096, data));
        std::vector<std::byte> back(data.size());
        REQUIRE((*disk)->read(co, 4096, back));
        CHECK(back == data);
        (*disk)->shut_down(co);
    });
    return served;
}

TEST_CASE("virtio: random guests harm nobody", "[virtio][hostile]") {
    const bool scsi = GENERATE(true, false);
    std::uint64_t served = 0;
    for (std::uint64_t seed = 1; seed <= 24; ++seed) served += hostile_run(seed, scsi);
    CHECK(served > 100);  // not all of it was nonsense
}

}  // namespace
}  // namespace hwmodels
