// SPDX-License-Identifier: Apache-2.0
// Holds:   media come and go as the real program has it: order, texts, events, and what the guest
//          sees of it.
// Method:  a transcript taken on the real program; then a guest that reads and locks the tray.
#include "hwmodels/guest/open_disk.hpp"
#include "hwmodels/guest/scsi.hpp"
#include "hwmodels/testing/machine_fixture.hpp"
#include "sim/testing/catch.hpp"

namespace hwmodels {
namespace {

using blocklayer::Value;
using guest::ScsiGuestDisk;
using sim::Errno;
using sim::Unexpected;
using testing::MachineFixture;
using testing::pattern;

struct MediaFixture : MachineFixture {
    MediaFixture() {
        memory("n");
        memory("m");
        memory("k");
        REQUIRE(add("virtio-scsi-pci", "hba", "") == "ok");
        REQUIRE(add("scsi-cd", "cd", "n") == "ok");
        REQUIRE(add("scsi-cd", "empty", "") == "ok");
        REQUIRE(add("scsi-hd", "hd", "k") == "ok");
    }
    std::string on(const char* name, const char* id, const char* node = "") {
        Value arguments = Value::dict({{"id", id}});
        if (*node != '\0') arguments.set("node-name", node);
        const std::string said = command(name, arguments);
        const std::string told = take_events();
        return told.empty() ? said : said + ", " + told;
    }
};

TEST_CASE("media: order, texts and events are the real program's", "[media]") {
    MediaFixture vm;
    const char* const moved = "ok, DEVICE_TRAY_MOVED";
    CHECK(vm.on("blockdev-remove-medium", "cd") == "Tray of device 'cd' is not open");
    CHECK(vm.on("blockdev-insert-medium", "empty", "m") == "Tray of the device is not open");
    for (const char* name :
         {"eject", "blockdev-open-tray", "blockdev-close-tray", "blockdev-remove-medium"})
        CHECK(vm.on(name, "hd") == "Device 'hd' is not removable");
    CHECK(vm.on("blockdev-insert-medium", "hd", "m") == "Device is not removable");
    CHECK(vm.on("eject", "zz") == "Device 'zz' not found");
    CHECK(vm.on("eject", "hba") == "Device does not have a block device backend");
    CHECK(vm.command("eject", Value::dict()) == "Need exactly one of 'device' and 'id'");
    CHECK(vm.command("eject", Value::dict({{"device", "zz"}})) == "Device 'zz' not found");
    CHECK(vm.on("blockdev-open-tray", "cd") == moved);
    CHECK(vm.on("blockdev-open-tray", "cd") == "ok");
    CHECK(vm.on("blockdev-insert-medium", "cd", "m") == "There already is a medium in the device");
    CHECK(vm.on("blockdev-remove-medium", "cd") == "ok");
    CHECK(vm.root_claim("n").empty());
    CHECK(vm.on("blockdev-remove-medium", "cd") == "ok");
    CHECK(vm.on("blockdev-insert-medium", "cd", "zz") == "Node 'zz' not found");
    CHECK(vm.on("blockdev-insert-medium", "cd", "k") == "Node 'k' is already in use");
    CHECK(vm.on("blockdev-insert-medium", "cd", "m") == "ok");
    CHECK(vm.root_claim("m") == "C / CU");
    CHECK(vm.on("blockdev-close-tray", "cd") == moved);
    CHECK(vm.on("blockdev-close-tray", "cd") == "ok");
    CHECK(vm.on("eject", "cd") == moved);
    CHECK(vm.on("eject", "cd") == "ok");
    CHECK(vm.on("eject", "empty") == moved);
}

TEST_CASE("media: the guest sees the medium go and another one come", "[media]") {
    MediaFixture vm;
    vm.machine.resume();
    auto opened = vm.run([&](sim::Co& co) { return *guest::open_disk(co, vm.machine, "cd"); });
    auto& cd = dynamic_cast<ScsiGuestDisk&>(*opened);
    std::vector<std::byte> data(4096);
    vm.run([&](sim::Co& co) {
        REQUIRE(cd.read(co, 0, data));
        REQUIRE(cd.lock_door(co, true));
    });
    (void)vm.take_events();
    // Locked: the guest is asked, and only force gets it out.
    CHECK(vm.on("eject", "cd") ==
          "Device 'cd' is locked and force was not specified, wait for tray to open and try again");
    CHECK(vm.on("blockdev-open-tray", "cd") == "ok");
    CHECK(vm.query("query-block").items()[0].at("locked").as_bool());
    vm.run([&](sim::Co& co) {
        CHECK(cd.load_or_eject(co, false) == Unexpected(Errno::io));
        CHECK(cd.last_sense() == scsi::removal_prevented);
        REQUIRE(cd.lock_door(co, false));
        REQUIRE(cd.load_or_eject(co, false));  // as asked
    });
    CHECK(vm.take_events() == "DEVICE_TRAY_MOVED");
    CHECK(vm.on("blockdev-remove-medium", "cd") == "ok");
    vm.run([&](sim::Co& co) { CHECK(cd.read(co, 0, data) == Unexpected(Errno::no_medium)); });
    auto& other = vm.memory("other", 64 * 1024);
    const auto content = pattern(64 * 1024, 9);
    vm.memory_of(other).bytes = content;
    CHECK(vm.on("blockdev-insert-medium", "cd", "other") == "ok");
    CHECK(vm.on("blockdev-close-tray", "cd") == "ok, DEVICE_TRAY_MOVED");
    vm.run([&](sim::Co& co) {
        (void)cd.read(co, 0, data);  // the attention is taken note of
        REQUIRE(cd.read(co, 0, data));
        CHECK(cd.length() == 64 * 1024);
        CHECK(std::equal(data.begin(), data.end(), content.begin()));
    });
}

TEST_CASE("media: a change is its steps, and an image of its own", "[media]") {
    MediaFixture vm;
    vm.run([&](sim::Co& co) {
        auto file = vm.store.create("/new.img");
        REQUIRE(file.has_value());
        REQUIRE((*file)->truncate(co, 65536));
    });
    const auto change = [&](const char* filename, const char* mode) {
        return vm.command("blockdev-change-medium", Value::dict({{"id", "cd"},
                                                                 {"filename", filename},
                                                                 {"format", "raw"},
                                                                 {"read-only-mode", mode}}));
    };
    CHECK(change("/nothere", "retain") == "Could not open '/nothere': No such file or directory");
    CHECK(vm.root_claim("n") == "C / CU");
    CHECK(change("/new.img", "bogus") ==
          "Parameter 'read-only-mode' does not accept value 'bogus'");
    CHECK(change("/new.img", "read-only") == "ok");
    CHECK(vm.take_events() == "DEVICE_TRAY_MOVED DEVICE_TRAY_MOVED");
    CHECK(vm.root_claim("n").empty());
    const auto nodes = vm.layer.nodes().size();
    CHECK(vm.on("eject", "cd") == "ok, DEVICE_TRAY_MOVED");
    CHECK(vm.layer.nodes().size() == nodes - 2);  // nobody else has them
}

}  // namespace
}  // namespace hwmodels
