// SPDX-License-Identifier: Apache-2.0
// PciDevice: a device of the user's that is one function of the PCI bus, with hotplug.
//
// A model's realize() calls join_bus() before what may fail, and announce() as its last act; its
// unrealize() begins with leave_bus().
#pragma once
#include <vector>

#include "hwmodels/pci/device.hpp"
#include "hwmodels/qdev/device.hpp"

namespace hwmodels {

// The properties every PCI device has.
std::vector<PropertySpec> pci_properties();

class PciDevice : public Device, public PciFunction {
public:
    PciDevice(Machine& machine, const DeviceSpec& spec, const PciIds& ids);

    const PciFunction* pci_function() const override { return this; }
    bool asks_guest_to_unplug() const override { return true; }
    blocklayer::Status request_unplug() override;

protected:
    // Takes the slot that the property "addr" asks for, or a free one. errors: the bus's.
    blocklayer::Status join_bus();
    // Tells the guest of the new device if the machine runs.
    void announce();
    void leave_bus();
};

}  // namespace hwmodels
