// SPDX-License-Identifier: Apache-2.0
// PciHotplug: the ACPI hotplug registers of the pc machine.
//
// Plug: the slot's "up" bit is set and an event is sent. Unplug: the "down" bit is set and an event
// is sent; the guest stops its driver and writes the slot's bit into the eject register, and only
// then the device goes. A guest that never does keeps its device.
//
// source  ACPI PCI hotplug interface, docs/specs/acpi_pci_hotplug of the reference.
#pragma once
#include <cstdint>
#include <functional>
#include <utility>

namespace hwmodels {

class PciHotplug {
public:
    // The machine's side: who gets the device out, who reports a refusal, and the event line.
    std::function<void(int slot)> eject, refused;
    std::function<void(bool high)> set_event;

    void slot_up(int slot) {
        up_ |= 1U << slot;
        set_event(true);
    }
    void request_down(int slot) {
        down_ |= 1U << slot;
        set_event(true);
    }
    void forget(int slot) {
        up_ &= ~(1U << slot);
        down_ &= ~(1U << slot);
    }
    void reset() {
        up_ = down_ = 0;
        set_event(false);
    }

    // Registers as the guest sees them. "up" is cleared by reading it.
    void acknowledge() { set_event(false); }
    std::uint32_t read_up() { return std::exchange(up_, 0U); }
    std::uint32_t read_down() const { return down_; }
    void write_eject(std::uint32_t slots) {
        for (int slot = 0; slot < 32; ++slot)
            if ((slots >> slot & 1) != 0) {
                down_ &= ~(1U << slot);
                eject(slot);
            }
    }
    // The guest's status report: it will not let the device go.
    void write_refusal(int slot) {
        down_ &= ~(1U << slot);
        refused(slot);
    }

private:
    std::uint32_t up_ = 0, down_ = 0;
};

}  // namespace hwmodels
