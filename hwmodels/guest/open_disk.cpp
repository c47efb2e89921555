// SPDX-License-Identifier: Apache-2.0
#include "hwmodels/guest/open_disk.hpp"

#include <fmt/format.h>
#include <map>

#include "sim/check.hpp"

namespace hwmodels::guest {

using blocklayer::failure;
using blocklayer::Result;

namespace {

std::map<std::string, DiskDriver, std::less<>>& registry() {
    static std::map<std::string, DiskDriver, std::less<>> drivers;
    return drivers;
}

}  // namespace

DiskDriverRegistration::DiskDriverRegistration(DiskDriver driver) {
    EXPECTS(driver.open != nullptr);
    const std::string model = driver.model;
    const bool fresh = registry().emplace(model, std::move(driver)).second;
    EXPECTS(fresh);
}

const DiskDriver* find_disk_driver(const Device& device) {
    const auto named = [](std::string_view model, Drives drives) -> const DiskDriver* {
        const auto found = registry().find(model);
        const bool right = found != registry().end() && found->second.drives == drives;
        return right ? &found->second : nullptr;
    };
    if (const DiskDriver* own = named(device.spec().name, Drives::the_device)) return own;
    const Bus* bus = device.bus();
    if (bus == nullptr) return nullptr;
    if (bus->owner() != nullptr)
        if (const DiskDriver* controller =
                named(bus->owner()->spec().name, Drives::disks_on_its_bus))
            return controller;
    return named(bus->kind(), Drives::disks_on_such_a_bus);
}

Result<std::unique_ptr<GuestDisk>> open_disk(sim::Co& co, Machine& machine,
                                             std::string_view id_or_path) {
    machine.wait_running(co);
    Device* device = machine.find_device(id_or_path);
    if (device == nullptr || !device->realized)
        return failure(fmt::format("Device '{}' not found", id_or_path));
    const DiskDriver* driver = find_disk_driver(*device);
    if (driver == nullptr)
        return failure(fmt::format("the guest has no disk driver for '{}'", device->spec().name));
    return driver->open(co, machine, *device);
}

PciFunction* pci_function_of(const Device& device) {
    const Device* at = &device;
    while (at != nullptr && at->pci_function() == nullptr)
        at = at->bus() != nullptr ? at->bus()->owner() : nullptr;
    return at != nullptr ? const_cast<PciFunction*>(at->pci_function()) : nullptr;
}

}  // namespace hwmodels::guest
