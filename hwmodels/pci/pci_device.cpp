// SPDX-License-Identifier: Apache-2.0
#include "hwmodels/pci/pci_device.hpp"

#include "hwmodels/machine.hpp"

namespace hwmodels {

std::vector<PropertySpec> pci_properties() {
    return {
        {"addr", PropertyKind::pci_address, -1},
        {"multifunction", PropertyKind::boolean, false},
        {"rombar", PropertyKind::uint32, 1},
        {"romfile", PropertyKind::string, ""},
        {"romsize", PropertyKind::uint32, std::uint64_t{UINT32_MAX}},
        {"acpi-index", PropertyKind::uint32, 0},
        {"failover_pair_id", PropertyKind::string, ""},
    };
}

PciDevice::PciDevice(Machine& machine, const DeviceSpec& spec, const PciIds& ids)
    : Device(machine, spec), PciFunction(machine.interrupts(), spec.name, ids) {}

blocklayer::Status PciDevice::request_unplug() {
    machine().hotplug().request_down(devfn >> 3);
    return {};
}

blocklayer::Status PciDevice::join_bus() {
    PciFunction::device_id = id();
    TRY(machine().pci().plug(*this, static_cast<int>(properties().integer("addr")),
                             machine().running()));
    properties().set("addr", devfn);
    return {};
}

void PciDevice::announce() {
    if (machine().running()) machine().hotplug().slot_up(devfn >> 3);
}

void PciDevice::leave_bus() {
    machine().hotplug().forget(devfn >> 3);
    machine().pci().unplug(*this);
}

}  // namespace hwmodels
