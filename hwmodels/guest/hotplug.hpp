// SPDX-License-Identifier: Apache-2.0
// HotplugHandler: the guest operating system's part in PCI hotplug.
//
// Told by the machine's hotplug interrupt, it waits a little (simulated time), lets the driver of
// an outgoing slot finish, and ejects the slot; an incoming device gets its addresses. It may
// refuse.
#pragma once
#include <functional>
#include <map>

#include "hwmodels/guest/disk.hpp"
#include "hwmodels/machine.hpp"

namespace hwmodels::guest {

struct HotplugOptions {
    sim::Duration delay = sim::milliseconds(10);  // between the interrupt and the work
    bool refuse = false;                          // unplug requests are turned down
};

class HotplugHandler {
public:
    explicit HotplugHandler(Machine& machine, HotplugOptions options = {});
    HotplugHandler(const HotplugHandler&) = delete;
    HotplugHandler& operator=(const HotplugHandler&) = delete;
    ~HotplugHandler();

    // A disk in this slot, or on a bus behind it, is shut down before the slot is ejected.
    void add_disk(int slot, GuestDisk& disk) { disks_.emplace(slot, &disk); }
    void remove_disk(const GuestDisk& disk) {
        std::erase_if(disks_, [&](const auto& one) { return one.second == &disk; });
    }
    // Called with the slot of a device that came.
    std::function<void(int slot)> on_added;
    HotplugOptions options;

private:
    void work(sim::Co& co);

    Machine& machine_;
    std::uint64_t handle_;
    std::multimap<int, GuestDisk*> disks_;
    sim::FiberRef worker_;
    bool again_ = false;
    std::shared_ptr<HotplugHandler*> self_;
};

}  // namespace hwmodels::guest
