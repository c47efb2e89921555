// SPDX-License-Identifier: Apache-2.0
// Holds:   what a guest writes through nvme is on the node and comes back; commands end once, also
//          across a disabling of the controller and an unplug; nonsense harms nobody.
// Method:  the guest's driver on one side, a node that can fail and wait on the other.
#include "hwmodels/guest/nvme.hpp"
#include "hwmodels/guest/bounce.hpp"
#include "hwmodels/guest/hotplug.hpp"
#include "hwmodels/guest/open_disk.hpp"
#include "hwmodels/testing/machine_fixture.hpp"
#include "sim/rng.hpp"
#include "sim/testing/catch.hpp"

namespace hwmodels {
namespace {

using blocklayer::Value;
using blocklayer::testing::conflict;
using guest::NvmeDisk;
using sim::Errno;
using sim::Unexpected;
using testing::MachineFixture;
using testing::pattern;

constexpr std::uint64_t KiB = 1024;

struct NvmeFixture : MachineFixture {
    std::string plug(const char* id, const char* drive, Value more = {}) {
        Value arguments = Value::dict({{"serial", "s"}});
        if (more.is_dict())
            for (const auto& [name, value] : more.members()) arguments.set(name, value);
        return add("nvme", id, drive, arguments);
    }
    std::unique_ptr<NvmeDisk> open(const char* id) {
        return run([&](sim::Co& co) {
            auto disk = NvmeDisk::attach(co, machine,
                                         guest::pci_function_of(*machine.find_device(id))->devfn);
            INFO((disk ? "" : disk.error().text));
            REQUIRE(disk.has_value());
            return *std::move(disk);
        });
    }
};

TEST_CASE("nvme: what it takes of a node, and its texts", "[nvme]") {
    NvmeFixture vm;
    vm.memory("n");
    vm.memory("ro", 1024 * KiB, true);
    CHECK(vm.add("nvme", "a", "n") == "serial property not set");
    REQUIRE(vm.plug("a", "n") == "ok");
    CHECK(vm.root_claim("n") == "CW / CU");
    CHECK(vm.command("block_resize", Value::dict({{"node-name", "n"}, {"size", 2048 * KiB}})) ==
          conflict("n", "resize", "an unnamed block device", "root", "block device 'a'", "root"));
    REQUIRE(vm.plug("b", "ro") == "ok");
    CHECK(vm.root_claim("ro") == "C / CU");
    vm.memory("shared");
    REQUIRE(vm.plug("c", "shared", Value::dict({{"share-rw", true}})) == "ok");
    CHECK(vm.root_claim("shared") == "CW / CWU");
    vm.machine.resume();
    auto ro = vm.open("b");
    vm.run([&](sim::Co& co) { CHECK(ro->write(co, 0, pattern(512, 1)) == Unexpected(Errno::io)); });
}

TEST_CASE("nvme: data, flush, zeroes and discard take the whole way", "[nvme]") {
    const std::uint64_t block = GENERATE(512u, 4096u);
    NvmeFixture vm;
    auto& node = vm.memory("disk", 4096 * KiB);
    REQUIRE(vm.plug("d", "disk",
                    Value::dict({{"logical_block_size", block}, {"physical_block_size", block}})) ==
            "ok");
    vm.machine.resume();
    auto disk = vm.open("d");
    CHECK(disk->length() == 4096 * KiB);
    CHECK(disk->block_size() == block);
    const auto data = pattern(900 * KiB, 7);
    vm.run([&](sim::Co& co) {
        REQUIRE(disk->write(co, 8 * KiB, data));
        std::vector<std::byte> back(data.size());
        REQUIRE(disk->read(co, 8 * KiB, back));
        CHECK((back == data));
        REQUIRE(disk->flush(co));
        REQUIRE(disk->write_zeroes(co, 16 * KiB, 8 * KiB, true));
        REQUIRE(disk->discard(co, 64 * KiB, 8 * KiB));
        REQUIRE(disk->read(co, 16 * KiB, std::span(back).first(8 * KiB)));
        CHECK(back[0] == std::byte{0});
        CHECK(disk->read(co, 4096 * KiB, std::span(back).first(4 * KiB)) == Unexpected(Errno::io));
        CHECK(disk->submit(co, false, {.opcode = 0x7f, .name_space = 1}) ==
              std::uint16_t{nvme::invalid_opcode});
        CHECK(disk->submit(co, false, {.opcode = nvme::read, .name_space = 2}) ==
              std::uint16_t{nvme::invalid_namespace});
        CHECK(disk->submit(co, true, {.opcode = nvme::delete_completion_queue, .dw10 = 1}) ==
              std::uint16_t{nvme::invalid_queue_deletion});
        // A page that is not in memory.
        CHECK(
            disk->submit(co, false, {.opcode = nvme::read, .name_space = 1, .prp1 = 1ULL << 60}) ==
            std::uint16_t{nvme::invalid_field});
        disk->shut_down(co);
        CHECK(disk->flush(co) == Unexpected(Errno::no_medium));
    });
    CHECK(std::equal(data.begin(), data.begin() + 8 * KiB,
                     vm.memory_of(node).bytes.begin() + 8 * KiB));
}

TEST_CASE("nvme: disabling it answers no command, and waits", "[nvme]") {
    NvmeFixture vm;
    auto& node = vm.memory("disk");
    REQUIRE(vm.plug("d", "disk") == "ok");
    vm.machine.resume();
    auto disk = vm.open("d");
    int inside = 0, canceled = 0;
    vm.slow_down(node, "read", inside);
    for (int i = 0; i < 100; ++i)  // more than the queue has room for
        vm.world.spawn(vm.machine.cpu(), "guest", [&](sim::Co& co) {
            std::vector<std::byte> data(512);
            if (disk->read(co, 0, data) == Unexpected(Errno::canceled)) ++canceled;
        });
    vm.run([&](sim::Co& co) {
        co.sleep(sim::milliseconds(1));
        CHECK(inside > 32);
        REQUIRE(disk->reset(co));
        CHECK(inside == 0);
        REQUIRE(disk->flush(co));
    });
    vm.world.run_until_idle();
    CHECK(canceled > 32);
}

TEST_CASE("nvme: the deletion of a queue waits for its commands", "[nvme]") {
    NvmeFixture vm;
    auto& node = vm.memory("disk");
    REQUIRE(vm.plug("d", "disk") == "ok");
    vm.machine.resume();
    auto disk = vm.open("d");
    int inside = 0, ended = 0;
    vm.slow_down(node, "read", inside);
    vm.run([&](sim::Co& co) { REQUIRE(disk->reset(co, {.submissions = 8, .completions = 3})); });
    for (int i = 0; i < 20; ++i)  // more than both queues have room for
        vm.world.spawn(vm.machine.cpu(), "guest", [&](sim::Co& co) {
            std::vector<std::byte> data(512);
            const auto read = disk->read(co, 0, data);
            CHECK((read || read == Unexpected(Errno::canceled)));
            ++ended;
        });
    vm.run([&](sim::Co& co) {
        co.sleep(sim::milliseconds(1));
        CHECK(inside == 7);
        REQUIRE(disk->remake_queue(co));
        CHECK(inside == 0);
        REQUIRE(disk->flush(co));
        CHECK(disk->submit(co, true, {.opcode = nvme::delete_submission_queue, .dw10 = 2}) ==
              std::uint16_t{nvme::invalid_queue_id});
    });
    vm.world.run_until_idle();
    CHECK(ended == 20);
}

// The real program does the same: seven reads, one ended, four under way, two just submitted; all
// end with success, then the deletion does, and another deletion finds no such queue.
TEST_CASE("nvme: every command that was submitted is answered before its queue's deletion is",
          "[nvme]") {
    for (std::uint64_t turns = 0; turns <= 8; ++turns) {
        INFO("after " << turns << " turns");
        NvmeFixture vm;
        auto& node = vm.memory("disk");
        REQUIRE(vm.plug("d", "disk") == "ok");
        vm.machine.resume();
        auto disk = vm.open("d");
        const guest::Bounce page(vm.machine, 4 * KiB);
        int inside = 0, answered = 0;
        vm.slow_down(node, "read", inside);
        const auto read = [&](sim::Co& co) {
            CHECK(disk->submit(co, false,
                               {.opcode = nvme::read, .name_space = 1, .prp1 = page.address()}) ==
                  std::uint16_t{nvme::success});
            ++answered;
        };
        for (int i = 0; i < 5; ++i) vm.world.spawn(vm.machine.cpu(), "guest", read);
        vm.run([&](sim::Co& co) {
            co.sleep(sim::milliseconds(1));
            CHECK(inside == 5);
            for (int i = 0; i < 2; ++i) vm.world.spawn(vm.machine.cpu(), "guest", read);
            // Their doorbells are rung in the next turn; what comes later finds the queue deleted.
            co.yield("as many turns", 1 + turns);
            const nvme::Command deletion{.opcode = nvme::delete_submission_queue, .dw10 = 1};
            CHECK(disk->submit(co, true, deletion) == std::uint16_t{nvme::success});
            CHECK(inside == 0);
            co.sleep(sim::microseconds(1));  // the guest looks at its admin queue first
            CHECK(answered == 7);
            CHECK(disk->submit(co, true, deletion) == std::uint16_t{nvme::invalid_queue_id});
            CHECK(disk->submit(co, true, {.opcode = nvme::delete_completion_queue, .dw10 = 1}) ==
                  std::uint16_t{nvme::success});
        });
        vm.world.run_until_idle();
        CHECK(vm.memory_of(node).calls.size() == 7);
    }
}

TEST_CASE("nvme: commands that were only fetched do nothing after a reset of the machine",
          "[nvme]") {
    NvmeFixture vm;
    auto& node = vm.memory("disk");
    REQUIRE(vm.plug("d", "disk") == "ok");
    vm.machine.resume();
    auto disk = vm.open("d");
    bool ended = false;
    vm.world.spawn(vm.machine.cpu(), "guest", [&](sim::Co& co) {
        CHECK(disk->write(co, 0, pattern(512, 1)) == Unexpected(Errno::no_medium));
        ended = true;
    });
    vm.run([&](sim::Co& co) {
        while (disk->read_register(nvme::reg_status, 4) != nvme::csts_ready) co.yield("guest");
        co.yield("the guest rings its doorbell");
        vm.memory_of(node).calls.clear();
        vm.machine.reset(co);
        CHECK(vm.memory_of(node).calls.empty());
        disk->surprise_removed();
    });
    vm.world.run_until_idle();
    CHECK(ended);
    CHECK(vm.memory_of(node).calls.empty());
}

TEST_CASE("nvme: unplugged under load", "[nvme]") {
    NvmeFixture vm;
    auto& node = vm.memory("disk");
    REQUIRE(vm.plug("d", "disk") == "ok");
    vm.machine.resume();
    auto disk = vm.open("d");
    vm.check_unplug_under_load("d", *disk, node);
}

TEST_CASE("nvme: random commands and registers harm nobody", "[nvme][hostile]") {
    for (std::uint64_t seed = 1; seed <= 12; ++seed) {
        INFO("seed " << seed);
        NvmeFixture vm;
        vm.memory("disk", 64 * KiB);
        REQUIRE(vm.plug("d", "disk") == "ok");
        vm.machine.resume();
        sim::RandomStream random(seed, "hostile nvme");
        {
            auto disk = vm.open("d");
            const guest::Bounce area(vm.machine, 16 * KiB);
            for (int step = 0; step < 200; ++step) {
                nvme::Command command;
                std::byte* bytes = reinterpret_cast<std::byte*>(&command);
                for (std::size_t i = 0; i < sizeof command; ++i)
                    bytes[i] = static_cast<std::byte>(random.chance(3, 4) ? 0 : random.next());
                command.opcode = static_cast<std::uint8_t>(random.below(14));
                if (random.chance(7, 8)) command.name_space = 1;
                if (random.chance(3, 4)) command.prp1 = area.address() + random.below(8 * KiB);
                if (random.chance(3, 4)) command.prp2 = area.address() + random.below(2) * 4 * KiB;
                if (random.chance(3, 4)) command.dw12 &= 31;
                store(area.bytes() + 8 * random.below(2 * KiB),
                      random.chance(1, 2) ? random.next() : area.address() & ~0xfffULL);
                const bool admin = random.chance(1, 4);
                // Neither the driver's own queues nor a request for events, which has no answer.
                if (admin && (command.opcode < 6 || command.opcode == 0x0c)) continue;
                vm.run([&](sim::Co& co) { (void)disk->submit(co, admin, command); });
            }
            for (int step = 0; step < 200; ++step) {
                const std::uint32_t size = 1U << random.below(4);
                const std::uint64_t offset =
                    random.chance(1, 2) ? random.below(64) : random.below(0x4000 - 8);
                if (random.chance(1, 4))
                    (void)disk->read_register(offset, size);
                else
                    disk->write_register(offset, size, random.next());
                if (random.chance(1, 8)) vm.world.run_until_idle();
            }
            vm.world.run_until_idle();
            disk->surprise_removed();
        }
        vm.check();
        vm.run([&](sim::Co& co) { vm.machine.reset(co); });
        auto disk = vm.open("d");
        vm.run([&](sim::Co& co) { CHECK(disk->write(co, 0, pattern(8 * KiB, seed))); });
    }
}

}  // namespace
}  // namespace hwmodels
