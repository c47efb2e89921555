// SPDX-License-Identifier: Apache-2.0
#include "hwmodels/testing/machine_fixture.hpp"

#include "hwmodels/guest/hotplug.hpp"
#include "hwmodels/guest/open_disk.hpp"
#include "sim/testing/catch.hpp"

namespace hwmodels::testing {

std::string MachineFixture::command(const std::string& name, const Value& arguments) {
    return run([&](sim::Co& co) -> std::string {
        const auto done = blocklayer::execute(co, layer, name, arguments);
        return done ? "ok" : done.error().text;
    });
}

std::string MachineFixture::add(const char* driver, const char* id, const std::string& drive,
                                Value more) {
    Value arguments = Value::dict({{"driver", driver}});
    if (*id != '\0') arguments.set("id", id);
    if (!drive.empty()) arguments.set("drive", drive);
    if (more.is_dict())
        for (const auto& [name, value] : more.members()) arguments.set(name, value);
    return add(arguments);
}

Value MachineFixture::query(const std::string& name, const Value& arguments) {
    return run([&](sim::Co& co) {
        auto done = blocklayer::execute(co, layer, name, arguments);
        INFO(name);
        REQUIRE(done.has_value());
        return *std::move(done);
    });
}

std::unique_ptr<guest::GuestDisk> MachineFixture::open(const char* id) {
    return run([&](sim::Co& co) {
        auto disk = guest::open_disk(co, machine, id);
        INFO((disk ? "" : disk.error().text));
        REQUIRE(disk.has_value());
        return *std::move(disk);
    });
}

void MachineFixture::slow_down(blocklayer::Node& node, const std::string& request, int& inside) {
    memory_of(node).before = [request, &inside](sim::Co& co,
                                                const blocklayer::testing::DriverCall& call) {
        if (call.request != request) return;
        ++inside;
        co.sleep(sim::milliseconds(5));
        --inside;
    };
}

void MachineFixture::check_unplug_under_load(const std::string& id, guest::GuestDisk& disk,
                                             blocklayer::Node& node) {
    memory_of(node).before = [](sim::Co& co, const blocklayer::testing::DriverCall&) {
        co.sleep(sim::microseconds(300));
    };
    guest::HotplugHandler handler(machine);
    handler.add_disk(guest::pci_function_of(*machine.find_device(id))->devfn >> 3, disk);
    bool ended = false;
    world.spawn(machine.cpu(), "guest", [&](sim::Co& co) {
        while (disk.write(co, 0, pattern(4096, 1))) continue;
        ended = true;
    });
    run([&](sim::Co& co) { co.sleep(sim::milliseconds(3)); });
    REQUIRE(remove(id) == "ok");
    world.run_until_idle();
    CHECK(ended);
    CHECK(machine.find_device(id) == nullptr);
    CHECK(root_claim(node.name()).empty());
}

std::unique_ptr<guest::VirtioBlk> MachineFixture::disk(const char* id,
                                                       const guest::BlkOptions& options) {
    return run([&](sim::Co& co) {
        auto made = guest::VirtioBlk::attach(co, machine, id, options);
        INFO((made ? "" : made.error().text));
        REQUIRE(made.has_value());
        return *std::move(made);
    });
}

std::string MachineFixture::take_events() {
    std::string names;
    for (const auto& event : events) {
        if (!names.empty()) names += ' ';
        names += event.name.name();
        if (const Value* device = event.data.find("device");
            device != nullptr && !device->as_string().empty())
            names += ':' + device->as_string();
    }
    events.clear();
    return names;
}

std::string MachineFixture::root_claim(const std::string& node) {
    const blocklayer::Node* found = layer.find_node(node);
    REQUIRE(found != nullptr);
    for (const blocklayer::Edge* edge : found->parents())
        if (edge->edge_class() == blocklayer::EdgeClass::root)
            return to_letters(edge->claim().used) + " / " + to_letters(edge->claim().shared);
    return "";
}

std::vector<std::byte> pattern(std::size_t n, std::uint64_t seed) {
    std::vector<std::byte> bytes(n);
    for (std::size_t i = 0; i < n; ++i)
        bytes[i] = static_cast<std::byte>((i * 167 + (i >> 9) * 31 + seed * 97) >> 1);
    return bytes;
}

}  // namespace hwmodels::testing
