// SPDX-License-Identifier: Apache-2.0
// Holds:   a disk's geometry is what its user says, else what the partition table was laid out for,
//          else that of its size; an unreadable table is none.
// Method:  tables of one or two entries in the first sector; the values are the real program's.
#include "hwmodels/testing/machine_fixture.hpp"
#include "sim/testing/catch.hpp"

namespace hwmodels {
namespace {

using blocklayer::Value;
using testing::MachineFixture;

constexpr std::uint64_t MiB = 1024 * 1024;

struct Entry {
    unsigned end_head, end_sector, sectors;
};

struct Case {
    std::vector<Entry> table;
    bool marked;  // 55 aa at its end
    std::vector<std::uint64_t> geometry;
};

TEST_CASE("geometry: of the partition table, or of the size", "[geometry]") {
    const Case cases[] = {
        {{}, true, {203, 16, 63}},
        {{{15, 32, 1000}}, true, {400, 16, 32}},
        {{{15, 32 + 64, 1000}}, true, {400, 16, 32}},  // two bits are the cylinder's
        {{{15, 32, 1000}}, false, {203, 16, 63}},
        {{{15, 32, 0}}, true, {203, 16, 63}},
        {{{0, 32, 1000}}, true, {203, 16, 63}},
        {{{15, 0, 1000}}, true, {203, 16, 63}},
        {{{254, 63, 1000}}, true, {203, 16, 63}},  // more heads than a disk can tell of
        {{{15, 32, 0}, {7, 10, 5}}, true, {2560, 8, 10}},
        {{{1, 1, 5}, {7, 10, 5}}, true, {2560, 8, 10}},  // too many cylinders
    };
    for (const char* model : {"virtio-blk-pci", "nvme"})
        for (const Case& one : cases) {
            MachineFixture vm;
            auto& bytes = vm.memory_of(vm.memory("n", 100 * MiB)).bytes;
            for (std::size_t i = 0; i < one.table.size(); ++i) {
                std::byte* entry = &bytes[446 + 16 * i];
                entry[5] = std::byte(one.table[i].end_head);
                entry[6] = std::byte(one.table[i].end_sector);
                entry[12] = std::byte(one.table[i].sectors & 0xff);
                entry[13] = std::byte(one.table[i].sectors >> 8);
            }
            if (one.marked) bytes[510] = std::byte{0x55}, bytes[511] = std::byte{0xaa};
            REQUIRE(vm.add(model, "d", "n", Value::dict({{"serial", "x"}})) == "ok");
            const Properties& p = vm.machine.find_device("d")->properties();
            if (std::string_view(model) == "nvme") {
                CHECK(vm.memory_of(*vm.layer.find_node("n")).calls.empty());  // nobody looks
                continue;
            }
            CHECK(std::vector{p.number("cyls"), p.number("heads"), p.number("secs")} ==
                  one.geometry);
        }
}

TEST_CASE("geometry: a sector that cannot be read has no table", "[geometry]") {
    MachineFixture vm;
    vm.memory_of(vm.memory("n", 100 * MiB)).failing = {"read"};
    REQUIRE(vm.add("virtio-blk-pci", "d", "n") == "ok");
    CHECK(vm.machine.find_device("d")->properties().number("cyls") == 203);
}

}  // namespace
}  // namespace hwmodels
