// SPDX-License-Identifier: Apache-2.0
// Guest: the operating system of a virtual machine, as far as a scenario needs one.
//
// It answers hotplug, drives the disks that the scenario asks for, lets them go when it is told to,
// and loses them when the machine is reset.
//
// invariant  a disk in `disks_` has a driver that has not lost its device
#pragma once
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "blocklayer/layer.hpp"
#include "hwmodels/guest/checked_disk.hpp"
#include "hwmodels/guest/hotplug.hpp"
#include "hwmodels/machine.hpp"
#include "sim/sync.hpp"

namespace bindings {

// One disk that the guest drives, or drove. Requests under way keep it alive.
struct DrivenDisk {
    std::string id;
    std::unique_ptr<hwmodels::guest::CheckedDisk> driver;
    std::uint64_t length = 0;  // when it was last there
    std::uint64_t in_flight = 0;
    bool lost = false;  // let go, or taken away: requests fail with no_medium
};

class Guest {
public:
    // number: of the machine in its world, from 0.
    Guest(hwmodels::Machine& machine, std::size_t number);
    Guest(const Guest&) = delete;
    Guest& operator=(const Guest&) = delete;
    ~Guest();

    hwmodels::Machine& machine() const { return machine_; }
    hwmodels::guest::HotplugOptions& hotplug_options() { return hotplug_.options; }

    // The disk behind a device, driven from now on; the same one while it is there. Suspends until
    // the machine runs. errors: no such device; no driver for it; what the driver found wrong.
    blocklayer::Result<std::shared_ptr<DrivenDisk>> disk(sim::Co& co, const std::string& id);
    // From now on every request on the device's disk is checked, however often it comes and goes:
    // against `given`, or else contents of its own. errors: it is checked against others; requests
    // are under way of which nothing is known.
    blocklayer::Status know_contents(const std::string& id,
                                     std::shared_ptr<hwmodels::guest::ContentOracle> given);
    // Numbers the loads on a device.
    unsigned next_load(const std::string& id) { return loads_[id]++; }
    // The device's name among those of all machines of the world.
    std::string name_in_world(const std::string& id) const;
    // The driver lets go of the disk once its requests have ended.
    void close(sim::Co& co, const std::shared_ptr<DrivenDisk>& disk);
    // Suspends until the guest has seen a device that was plugged in. At once when the machine
    // stands still, or when there is nothing to see.
    void wait_noticed(sim::Co& co, const std::string& id);
    // The machine is dead: nothing of the guest runs any more, its disks are lost.
    void lose_power();
    bool dead() const { return dead_; }
    // The device is pulled out without asking the guest.
    blocklayer::Status pull_out(sim::Co& co, const std::string& id);

private:
    void on_event(const blocklayer::QmpEvent& event);
    void lose(DrivenDisk& disk);
    void lose_all();

    hwmodels::Machine& machine_;
    std::size_t number_;
    hwmodels::guest::HotplugHandler hotplug_;
    std::map<std::string, std::shared_ptr<DrivenDisk>> disks_;  // by device id
    std::map<std::string, std::shared_ptr<hwmodels::guest::ContentOracle>> contents_;  // of those
    std::map<std::string, unsigned> loads_;                     // so far, by device id
    std::vector<std::weak_ptr<DrivenDisk>> ever_driven_;        // their drivers go with the guest
    std::shared_ptr<Guest*> self_;                              // nullptr inside: it is gone
    sim::Mutex probing_{"guest probes a disk"};
    sim::WaitQueue noticed_{"guest notices the device"};
    std::uint64_t boots_ = 0;
    bool dead_ = false;
};

}  // namespace bindings
