// SPDX-License-Identifier: Apache-2.0
// Holds:   what a guest writes through virtio-scsi is on the node and comes back; task management
//          ends the commands it names, each exactly once; units come and go with events.
// Method:  the guest's drivers on one side, a node that can fail and wait on the other.
#include "hwmodels/guest/hotplug.hpp"
#include "hwmodels/guest/open_disk.hpp"
#include "hwmodels/guest/virtio_scsi.hpp"
#include "hwmodels/testing/machine_fixture.hpp"
#include "sim/testing/catch.hpp"

namespace hwmodels {
namespace {

using blocklayer::Value;
using blocklayer::testing::DriverCall;
using guest::GuestDisk;
using guest::ScsiEvent;
using guest::ScsiGuestDisk;
using guest::TaskFunction;
using guest::VirtioScsi;
using sim::Errno;
using sim::Unexpected;
using testing::MachineFixture;
using testing::pattern;

constexpr std::uint64_t KiB = 1024;
constexpr std::uint8_t complete = 0, succeeded = 10, rejected = 11, incorrect_lun = 12,
                       bad_target = 3;

struct ScsiFixture : MachineFixture {
    ScsiFixture() {
        REQUIRE(add("virtio-scsi-pci", "hba", "", Value::dict({{"num_queues", 2}})) == "ok");
    }
    std::shared_ptr<VirtioScsi> adapter() {
        return run([&](sim::Co& co) {
            auto found = VirtioScsi::adapter_at(
                co, machine, guest::pci_function_of(*machine.find_device("hba"))->devfn);
            REQUIRE(found.has_value());
            return *found;
        });
    }
};

TEST_CASE("virtio-scsi: data, flush, zeroes and discard take the whole way", "[virtio_scsi]") {
    const std::uint64_t block = GENERATE(512u, 4096u);
    ScsiFixture vm;
    auto& node = vm.memory("disk", 4096 * KiB);
    REQUIRE(vm.add("scsi-hd", "d", "disk",
                   Value::dict({{"logical_block_size", block}, {"physical_block_size", block}})) ==
            "ok");
    vm.machine.resume();
    auto disk = vm.open("d");
    CHECK(disk->length() == 4096 * KiB);
    CHECK(disk->block_size() == block);
    CHECK_FALSE(disk->read_only());
    const auto data = pattern(1536 * KiB, 7);
    vm.run([&](sim::Co& co) {
        REQUIRE(disk->write(co, 8 * KiB, data));
        std::vector<std::byte> back(data.size());
        REQUIRE(disk->read(co, 8 * KiB, back));
        CHECK(back == data);
        REQUIRE(disk->flush(co));
        REQUIRE(disk->write_zeroes(co, 16 * KiB, 8 * KiB, true));
        REQUIRE(disk->discard(co, 64 * KiB, 8 * KiB));
        REQUIRE(disk->read(co, 16 * KiB, std::span(back).first(8 * KiB)));
        CHECK(back[0] == std::byte{0});
        CHECK(disk->read(co, 4096 * KiB, std::span(back).first(4 * KiB)) == Unexpected(Errno::io));
        CHECK(dynamic_cast<ScsiGuestDisk&>(*disk).last_sense() == scsi::lba_out_of_range);
        CHECK(disk->read(co, 1, std::span(back).first(4 * KiB)) == Unexpected(Errno::invalid));
        disk->shut_down(co);
        CHECK(disk->flush(co) == Unexpected(Errno::no_medium));
    });
    const auto& bytes = vm.memory_of(node).bytes;
    CHECK(std::equal(data.begin(), data.begin() + 8 * KiB, bytes.begin() + 8 * KiB));
}

TEST_CASE("open_disk: says what is not there", "[guest]") {
    ScsiFixture vm;
    vm.memory("disk");
    vm.machine.resume();
    vm.run([&](sim::Co& co) {
        CHECK(guest::open_disk(co, vm.machine, "nothing").error().text ==
              "Device 'nothing' not found");
        CHECK(guest::open_disk(co, vm.machine, "hba").error().text ==
              "the guest has no disk driver for 'virtio-scsi-pci'");
    });
    REQUIRE(vm.add("virtio-blk-pci", "b", "disk") == "ok");
    auto disk = vm.open("b");
    CHECK(disk->length() == 1024 * KiB);
}

TEST_CASE("virtio-scsi: read-only media, CDs and empty drives", "[virtio_scsi]") {
    ScsiFixture vm;
    vm.memory("ro", 1024 * KiB, true);
    vm.memory("disc", 640 * KiB);
    REQUIRE(vm.add("scsi-hd", "hd", "ro") == "ok");
    REQUIRE(vm.add("scsi-cd", "cd", "disc") == "ok");
    REQUIRE(vm.add("scsi-cd", "empty", "") == "ok");
    vm.machine.resume();
    auto hd = vm.open("hd"), cd = vm.open("cd"), empty = vm.open("empty");
    CHECK(hd->read_only());
    CHECK(cd->read_only());
    CHECK(cd->block_size() == 2048);
    CHECK(cd->length() == 640 * KiB);
    CHECK(empty->length() == 0);
    vm.run([&](sim::Co& co) {
        std::vector<std::byte> data(2048);
        CHECK(hd->write(co, 0, data) == Unexpected(Errno::io));
        CHECK(dynamic_cast<ScsiGuestDisk&>(*hd).last_sense() == scsi::write_protected);
        CHECK(cd->read(co, 2048, data));
        CHECK(cd->discard(co, 0, 2048) == Unexpected(Errno::not_supported));
        CHECK(empty->read(co, 0, data) == Unexpected(Errno::no_medium));
    });
}

TEST_CASE("virtio-scsi: task management ends the commands it names, once", "[virtio_scsi]") {
    const TaskFunction function =
        GENERATE(TaskFunction::abort_task, TaskFunction::abort_task_set,
                 TaskFunction::clear_task_set, TaskFunction::lun_reset, TaskFunction::target_reset);
    ScsiFixture vm;
    auto& node = vm.memory("disk");
    REQUIRE(vm.add("scsi-hd", "d", "disk", Value::dict({{"scsi-id", 3}})) == "ok");
    vm.machine.resume();
    auto opened = vm.open("d");
    auto& disk = dynamic_cast<ScsiGuestDisk&>(*opened);
    auto adapter = vm.adapter();
    int inside = 0;
    vm.slow_down(node, "read", inside);
    constexpr int commands = 6;
    std::vector<guest::ScsiCommand> all(commands);
    int canceled = 0, ended = 0;
    for (guest::ScsiCommand& command : all)
        vm.world.spawn(vm.machine.cpu(), "guest", [&](sim::Co& co) {
            const guest::Bounce bounce(vm.machine, 512);
            command.cdb[0] = std::byte{scsi::read_10};
            command.cdb_bytes = 10;
            command.set(7, 2, 1);
            command.direction = guest::DataDirection::from_device;
            command.data = bounce.address();
            command.length = 512;
            const auto done = disk.execute_raw(co, command);
            if (done == Unexpected(Errno::canceled)) ++canceled;
            ++ended;
        });
    vm.run([&](sim::Co& co) {
        co.sleep(sim::milliseconds(1));
        REQUIRE(inside == commands);
        CHECK(adapter->manage(co, TaskFunction::query_task, 3, 0, all[2].tag) == succeeded);
        CHECK(adapter->manage(co, TaskFunction::query_task_set, 3, 0) == succeeded);
        CHECK(adapter->manage(co, function, 3, 0, all[2].tag) == complete);
        const bool one = function == TaskFunction::abort_task;
        CHECK(canceled == (one ? 1 : commands));
        if (!one) CHECK(inside == 0);
        CHECK(adapter->manage(co, TaskFunction::query_task, 3, 0, all[2].tag) == complete);
        CHECK(adapter->manage(co, TaskFunction::clear_aca, 3, 0) == rejected);
        CHECK(adapter->manage(co, TaskFunction::lun_reset, 3, 1) == incorrect_lun);
        CHECK(adapter->manage(co, TaskFunction::lun_reset, 4, 0) == bad_target);
        REQUIRE(disk.flush(co));  // the attention of a reset is taken note of
    });
    vm.world.run_until_idle();
    CHECK(ended == commands);
    CHECK(adapter->in_flight() == 0);
}

TEST_CASE("virtio-scsi: units come, go and change with events", "[virtio_scsi]") {
    ScsiFixture vm;
    vm.memory("a");
    vm.memory("b");
    REQUIRE(vm.add("scsi-hd", "a", "a") == "ok");
    vm.machine.resume();
    auto disk_a = vm.open("a");
    auto adapter = vm.adapter();
    std::vector<ScsiEvent> events;
    adapter->on_event = [&](const ScsiEvent& event) { events.push_back(event); };
    REQUIRE(vm.add("scsi-hd", "b", "b", Value::dict({{"lun", 300}})) == "ok");
    vm.world.run_until_idle();
    REQUIRE(events.size() == 1);
    CHECK((events[0].kind == 1 && events[0].reason == 1 && events[0].lun == 300));
    auto disk_b = vm.open("b");
    vm.run([&](sim::Co& co) { REQUIRE(disk_b->write(co, 0, pattern(4 * KiB, 1))); });
    // Resized: the event, and the new size is seen by the next request.
    REQUIRE(vm.command("block_resize", Value::dict({{"node-name", "a"}, {"size", 2048 * KiB}})) ==
            "ok");
    vm.world.run_until_idle();
    REQUIRE(events.size() == 2);
    CHECK((events[1].kind == 3 && events[1].reason == 0x092a && events[1].target == 0));
    vm.run([&](sim::Co& co) {
        std::vector<std::byte> data(512);
        REQUIRE(disk_a->read(co, 0, data));
        REQUIRE(disk_a->read(co, 0, data));
        CHECK(disk_a->length() == 2048 * KiB);
    });
    REQUIRE(vm.remove("b") == "ok");
    vm.world.run_until_idle();
    REQUIRE(events.size() == 3);
    CHECK((events[2].kind == 1 && events[2].reason == 2 && events[2].lun == 300));
    vm.run([&](sim::Co& co) { CHECK_FALSE(disk_b->flush(co)); });
    // More events than the guest gives buffers for.
    adapter->on_event = nullptr;
}

TEST_CASE("virtio-scsi: a reset of the adapter answers no command, and waits", "[virtio_scsi]") {
    ScsiFixture vm;
    auto& node = vm.memory("disk");
    REQUIRE(vm.add("scsi-hd", "d", "disk") == "ok");
    vm.machine.resume();
    auto disk = vm.open("d");
    auto adapter = vm.adapter();
    int inside = 0, canceled = 0;
    vm.slow_down(node, "read", inside);
    for (int i = 0; i < 8; ++i)
        vm.world.spawn(vm.machine.cpu(), "guest", [&](sim::Co& co) {
            std::vector<std::byte> data(512);
            if (disk->read(co, 0, data) == Unexpected(Errno::canceled)) ++canceled;
        });
    vm.run([&](sim::Co& co) {
        co.sleep(sim::milliseconds(1));
        CHECK(inside == 8);
        REQUIRE(adapter->reset(co));
        CHECK(inside == 0);
        REQUIRE(disk->flush(co));
    });
    vm.world.run_until_idle();
    CHECK(canceled == 8);
}

TEST_CASE("virtio-scsi: the adapter is unplugged with its disks under load", "[virtio_scsi]") {
    ScsiFixture vm;
    auto& node = vm.memory("disk");
    vm.memory("other");
    REQUIRE(vm.add("scsi-hd", "d", "disk") == "ok");
    REQUIRE(vm.add("scsi-hd", "e", "other") == "ok");
    vm.machine.resume();
    auto disk = vm.open("d"), other = vm.open("e");
    vm.memory_of(node).before = [](sim::Co& co, const DriverCall&) {
        co.sleep(sim::microseconds(300));
    };
    guest::HotplugHandler handler(vm.machine);
    const int slot = guest::pci_function_of(*vm.machine.find_device("hba"))->devfn >> 3;
    handler.add_disk(slot, *disk);
    handler.add_disk(slot, *other);
    int failed = 0;
    vm.world.spawn(vm.machine.cpu(), "guest", [&](sim::Co& co) {
        while (failed == 0)
            if (!disk->write(co, 0, pattern(4 * KiB, 1))) ++failed;
    });
    (void)vm.take_events();
    REQUIRE(vm.remove("hba") == "ok");
    vm.world.run_until_idle();
    CHECK(failed == 1);
    CHECK(vm.machine.find_device("hba") == nullptr);
    CHECK(vm.take_events() ==
          "DEVICE_DELETED:e DEVICE_DELETED:d DEVICE_DELETED DEVICE_DELETED:hba");
}

}  // namespace
}  // namespace hwmodels
