// SPDX-License-Identifier: Apache-2.0
// Holds:   what a guest device takes and refuses on a node, in the real program's words.
// Method:  situations tried on the real program, with the text it gave.
#include "blocklayer/layer.hpp"
#include "hwmodels/guest/open_disk.hpp"
#include "hwmodels/testing/machine_fixture.hpp"
#include "sim/testing/catch.hpp"

namespace hwmodels {
namespace {

using blocklayer::Value;
using blocklayer::testing::conflict;
using testing::MachineFixture;

const char* const write_shared = "share-rw";

Value shared() { return Value::dict({{write_shared, true}}); }

TEST_CASE("devices: two disks on one node need share-rw on both", "[devices]") {
    MachineFixture vm;
    vm.memory("n");
    const auto d1 = "block device '/machine/peripheral/D1/virtio-backend'",
               d2 = "block device '/machine/peripheral/D2/virtio-backend'";
    REQUIRE(vm.add("virtio-blk-pci", "D1", "n") == "ok");
    CHECK(vm.root_claim("n") == "CW / CUR");
    CHECK(vm.add("virtio-blk-pci", "D2", "n") == conflict("n", "write", d1, "root", d2, "root"));
    CHECK(vm.add("virtio-blk-pci", "D2", "n", shared()) ==
          conflict("n", "write", d2, "root", d1, "root"));
}

TEST_CASE("devices: anonymous ones are named by their number", "[devices]") {
    MachineFixture vm;
    vm.memory("n");
    REQUIRE(vm.add("virtio-scsi-pci", "", "") == "ok");
    REQUIRE(vm.add("scsi-hd", "", "n") == "ok");
    CHECK(vm.add("scsi-hd", "", "n") ==
          conflict("n", "write", "block device '/machine/peripheral-anon/device[1]'", "root",
                   "block device '/machine/peripheral-anon/device[2]'", "root"));
}

TEST_CASE("devices: a backing image is not for the adapter's other thread", "[devices]") {
    MachineFixture vm;
    auto& af = vm.memory("af");
    auto& bf = vm.memory("bf");
    auto& a = vm.format("a", af, nullptr, true);
    vm.format("b", bf, &a);
    const std::string busy = "Node 'a' is busy: node is used as backing hd of 'b'";
    REQUIRE(vm.add("virtio-scsi-pci", "hba", "") == "ok");
    REQUIRE(vm.add("scsi-hd", "d", "b") == "ok");
    CHECK(vm.add("scsi-cd", "cd", "a") == busy);
    CHECK(vm.command("object-add", Value::dict({{"qom-type", "iothread"}, {"id", "t0"}})) == "ok");
    CHECK(vm.add("virtio-blk-pci", "v", "a", Value::dict({{"iothread", "t0"}})) ==
          "cannot start virtio-blk dataplane: " + busy);
    CHECK(vm.add("virtio-blk-pci", "v", "a") == "ok");
}

TEST_CASE("devices: one node is in one thread", "[devices]") {
    MachineFixture vm;
    vm.memory("n");
    vm.memory("m");
    for (const char* id : {"t0", "t1"})
        REQUIRE(vm.command("object-add", Value::dict({{"qom-type", "iothread"}, {"id", id}})) ==
                "ok");
    REQUIRE(vm.add("virtio-scsi-pci", "vs0", "", Value::dict({{"iothread", "t0"}})) == "ok");
    REQUIRE(vm.add("virtio-scsi-pci", "vs1", "", Value::dict({{"iothread", "t1"}})) == "ok");
    REQUIRE(vm.add("scsi-hd", "d", "n", Value::dict({{"bus", "vs0.0"}, {write_shared, true}})) ==
            "ok");
    CHECK(vm.add("scsi-hd", "e", "n", Value::dict({{"bus", "vs1.0"}, {write_shared, true}})) ==
          "Cannot change iothread of active block backend");
    CHECK(vm.add("scsi-hd", "e", "n", Value::dict({{"bus", "vs0.0"}, {write_shared, true}})) ==
          "ok");
    // The data still takes the right way.
    vm.machine.resume();
    vm.run([&](sim::Co& co) {
        auto disk = guest::open_disk(co, vm.machine, "d");
        REQUIRE(disk.has_value());
        CHECK((*disk)->write(co, 0, testing::pattern(4096, 1)));
    });
}

TEST_CASE("devices: the drive of a live device is moved, or stays where it was", "[devices]") {
    MachineFixture vm;
    auto& n = vm.memory("n");
    vm.memory("ro", 1 << 20, true);
    auto& other = vm.memory("other");
    auto& th = vm.filter("th", n);
    REQUIRE(vm.add("virtio-blk-pci", "D", "n") == "ok");
    const auto move = [&](const char* node) {
        return vm.command("qom-set", Value::dict({{"path", "/machine/peripheral/D"},
                                                  {"property", "drive"},
                                                  {"value", node}}));
    };
    CHECK(move("th") == "ok");
    CHECK(vm.root_claim("th") == "CW / CUR");
    CHECK(move("ro") == "Block node is read-only");
    CHECK(vm.root_claim("th") == "CW / CUR");
    CHECK(move("nothing") == "Cannot find device='' nor node-name='nothing'");
    CHECK(move("other") == "ok");
    CHECK(vm.root_claim("other") == "CW / CUR");
    vm.machine.resume();
    vm.run([&](sim::Co& co) {
        auto disk = guest::open_disk(co, vm.machine, "D");
        REQUIRE(disk.has_value());
        CHECK((*disk)->write(co, 0, testing::pattern(4096, 1)));
    });
    CHECK(vm.memory_of(other).bytes[1] == testing::pattern(4096, 1)[1]);
    CHECK(vm.memory_of(n).bytes[1] == std::byte{0});
    (void)th;
}

}  // namespace
}  // namespace hwmodels
