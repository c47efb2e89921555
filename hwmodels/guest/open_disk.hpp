// SPDX-License-Identifier: Apache-2.0
// open_disk: the guest's disk behind a device of the machine, whatever controller it hangs on.
//
// A guest driver registers itself under what it drives: the disk's own model ("virtio-blk-pci"),
// that of the controller whose bus the disk is on ("virtio-scsi-pci"), or the kind of that bus.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "blocklayer/errors.hpp"
#include "hwmodels/guest/disk.hpp"
#include "hwmodels/machine.hpp"

namespace hwmodels::guest {

enum class Drives : std::uint8_t { the_device, disks_on_its_bus, disks_on_such_a_bus };

struct DiskDriver {
    std::string model;  // of a device, or the kind of a bus
    Drives drives = Drives::the_device;
    blocklayer::Result<std::unique_ptr<GuestDisk>> (*open)(sim::Co& co, Machine& machine,
                                                           Device& device) = nullptr;
};

class DiskDriverRegistration {
public:
    explicit DiskDriverRegistration(DiskDriver driver);
};

// nullptr: no driver for it.
const DiskDriver* find_disk_driver(const Device& device);

// errors: no such device; no driver for it; what the driver found wrong. The machine must run:
// while it stands still the call waits.
blocklayer::Result<std::unique_ptr<GuestDisk>> open_disk(sim::Co& co, Machine& machine,
                                                         std::string_view id_or_path);

// The PCI function the device is, or hangs on; nullptr: none.
PciFunction* pci_function_of(const Device& device);

}  // namespace hwmodels::guest
