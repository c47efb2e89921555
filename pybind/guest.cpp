// SPDX-License-Identifier: Apache-2.0
#include "pybind/guest.hpp"

#include <fmt/format.h>

#include "blocklayer/monitor/session.hpp"
#include "hwmodels/guest/open_disk.hpp"
#include "hwmodels/pci/device.hpp"

namespace bindings {

using blocklayer::failure;
using blocklayer::Result;
using blocklayer::Status;
using hwmodels::Device;
using hwmodels::guest::CheckedDisk;
using hwmodels::guest::ContentOracle;
using hwmodels::PciFunction;
using hwmodels::guest::pci_function_of;

namespace {

bool decodes(const PciFunction& function) {
    return (function.config_read(hwmodels::pci_config::command, 2) &
            hwmodels::pci_config::command_memory) != 0;
}

}  // namespace

Guest::Guest(hwmodels::Machine& machine, std::size_t number)
    : machine_(machine),
      number_(number),
      hotplug_(machine),
      self_(std::make_shared<Guest*>(this)) {
    hotplug_.on_added = [this](int) { noticed_.wake_all(); };
    machine_.layer().add_event_sink(
        [self = self_](const std::shared_ptr<const blocklayer::QmpEvent>& event) {
            if (*self != nullptr) (*self)->on_event(*event);
        });
}

Guest::~Guest() {
    *self_ = nullptr;
    // A scenario may hold on to a disk for longer than the machine is there.
    for (const auto& one : ever_driven_)
        if (const auto disk = one.lock()) {
            disk->lost = true;
            disk->driver.reset();
        }
}

std::string Guest::name_in_world(const std::string& id) const {
    return number_ == 0 ? id : fmt::format("{} of machine {}", id, number_ + 1);
}

void Guest::lose(DrivenDisk& disk) {
    if (disk.lost) return;
    disk.lost = true;
    hotplug_.remove_disk(*disk.driver);
    disk.driver->surprise_removed();
}

void Guest::on_event(const blocklayer::QmpEvent& event) {
    if (event.name == "DEVICE_DELETED") {
        noticed_.wake_all();
        const blocklayer::Value* id = event.data.find("device");
        const auto gone = id == nullptr ? disks_.end() : disks_.find(id->as_string());
        if (gone == disks_.end()) return;
        lose(*gone->second);
        disks_.erase(gone);
    } else if (event.name == "RESET") {
        // Whatever ran on the machine is gone; nothing is in flight by now.
        ++boots_;
        lose_all();
    }
}

void Guest::lose_all() {
    for (const auto& [name, disk] : disks_) lose(*disk);
    disks_.clear();
    noticed_.wake_all();
}

void Guest::lose_power() {
    if (std::exchange(dead_, true)) return;
    machine_.interrupts().set_running(false);
    lose_all();
    for (const auto& [id, contents] : contents_) contents->power_lost();
}

Result<std::shared_ptr<DrivenDisk>> Guest::disk(sim::Co& co, const std::string& id) {
    const sim::MutexLock probing(co, probing_);
    while (true) {
        if (dead_) return failure("the machine has lost power");
        if (const auto found = disks_.find(id); found != disks_.end()) return found->second;
        machine_.wait_running(co);
        // Not in the middle of a command: it may be resetting the machine.
        { const sim::MutexLock lock(co, *blocklayer::command_dispatcher(machine_.layer())); }
        wait_noticed(co, id);
        const std::uint64_t boot = boots_;
        auto disk = std::make_shared<DrivenDisk>();
        disk->id = id;
        disk->driver = std::make_unique<CheckedDisk>(
            TRY(hwmodels::guest::open_disk(co, machine_, id)), nullptr);
        disk->length = disk->driver->length();
        const Device* device = machine_.find_device(id);
        if (boot != boots_ || device == nullptr) {  // lost while it was probed
            disk->driver->surprise_removed();
            continue;
        }
        if (const auto known = contents_.find(id); known != contents_.end())
            disk->driver->set_oracle(known->second);
        if (device->backend() != nullptr && !device->backend()->write_cache)
            disk->driver->set_write_through();
        if (const PciFunction* function = pci_function_of(*device))
            hotplug_.add_disk(function->devfn >> 3, *disk->driver);
        disks_.emplace(id, disk);
        std::erase_if(ever_driven_, [](const auto& one) { return one.expired(); });
        ever_driven_.push_back(disk);
        return disk;
    }
}

Status Guest::know_contents(const std::string& id, std::shared_ptr<ContentOracle> given) {
    if (const auto known = contents_.find(id); known != contents_.end()) {
        if (given == nullptr || given == known->second) return {};
        return failure(fmt::format("disk '{}' has contents of its own already", id));
    }
    const auto driven = disks_.find(id);
    if (driven != disks_.end() && driven->second->in_flight != 0)
        return failure(fmt::format("disk '{}' has requests under way: nobody would know what they "
                                   "do to its contents",
                                   id));
    if (given == nullptr) given = std::make_shared<ContentOracle>(id);
    if (driven != disks_.end()) driven->second->driver->set_oracle(given);
    contents_.emplace(id, std::move(given));
    return {};
}

void Guest::close(sim::Co& co, const std::shared_ptr<DrivenDisk>& disk) {
    if (disk->lost) return;
    disk->lost = true;
    hotplug_.remove_disk(*disk->driver);
    disks_.erase(disk->id);
    disk->driver->shut_down(co);
}

void Guest::wait_noticed(sim::Co& co, const std::string& id) {
    while (machine_.running() && !dead_) {
        const Device* device = machine_.find_device(id);
        const PciFunction* function = device == nullptr ? nullptr : pci_function_of(*device);
        if (function == nullptr || decodes(*function)) return;
        noticed_.wait(co);
    }
}

Status Guest::pull_out(sim::Co& co, const std::string& id) {
    const auto dispatcher = blocklayer::command_dispatcher(machine_.layer());
    const sim::MutexLock lock(co, *dispatcher);
    Device* device = machine_.find_device(id);
    if (device == nullptr || !device->realized)
        return failure(fmt::format("Device '{}' not found", id));
    machine_.unplug(co, *device);
    machine_.layer().reap(co);
    return {};
}

}  // namespace bindings
