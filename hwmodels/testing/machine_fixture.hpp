// SPDX-License-Identifier: Apache-2.0
// A world with a machine in it, and short ways to plug devices in tests.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "blocklayer/monitor/command.hpp"
#include "blocklayer/testing/graph_fixture.hpp"
#include "hwmodels/guest/disk.hpp"
#include "hwmodels/guest/virtio_blk.hpp"
#include "hwmodels/machine.hpp"

namespace hwmodels::testing {

using blocklayer::Value;

class MachineFixture : public blocklayer::testing::GraphFixture {
public:
    explicit MachineFixture(std::uint64_t seed = 1) : GraphFixture(seed), machine(make(layer)) {}
    explicit MachineFixture(sim::WorldOptions options)
        : GraphFixture(std::move(options)), machine(make(layer)) {}

    // "ok", or the error's text.
    std::string command(const std::string& name, const Value& arguments);
    std::string add(const Value& arguments) { return command("device_add", arguments); }
    std::string add(const char* driver, const char* id, const std::string& drive, Value more = {});
    std::string remove(const std::string& id) {
        return command("device_del", Value::dict({{"id", id}}));
    }
    Value query(const std::string& name, const Value& arguments = Value::dict());

    // The guest's disk on a device of any model.
    std::unique_ptr<guest::GuestDisk> open(const char* id);
    // From here on each such request to the node takes 5 ms; `inside` is how many are under way.
    void slow_down(blocklayer::Node& node, const std::string& request, int& inside);
    // Unplugs a PCI device while the guest writes to its disk: the writer ends, the device goes,
    // the node has no user left.
    void check_unplug_under_load(const std::string& id, guest::GuestDisk& disk,
                                 blocklayer::Node& node);
    std::unique_ptr<guest::VirtioBlk> disk(const char* id, const guest::BlkOptions& options = {});
    // Names of the events so far, joined by spaces; forgets them.
    std::string take_events();
    // "CW / CUR": what the first parent edge of that kind holds.
    std::string root_claim(const std::string& node);

    Machine& machine;

private:
    static Machine& make(blocklayer::BlockLayer& layer) { return Machine::of(layer); }
};

// n bytes that differ from one offset to the next and from one seed to the next.
std::vector<std::byte> pattern(std::size_t n, std::uint64_t seed);

}  // namespace hwmodels::testing
