// SPDX-License-Identifier: Apache-2.0
// PciBus: thirty-two slots of eight functions, and who decodes which address.
//
// source  PCI Local Bus 3.0; texts as the real program gives them.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "blocklayer/errors.hpp"
#include "hwmodels/pci/device.hpp"

namespace hwmodels {

constexpr int pci_devfn(int slot, int function) { return slot << 3 | function; }

class PciBus {
public:
    // Takes the place `devfn`, or with -1 the first free slot.
    // errors: the place is taken; function 0 and other functions do not fit together; bus full.
    blocklayer::Status plug(PciFunction& function, int devfn, bool hotplug);
    void unplug(PciFunction& function);
    PciFunction* at(int devfn) const { return functions_[static_cast<unsigned>(devfn)]; }
    const std::vector<PciFunction*>& functions() const { return plugged_; }  // by devfn

    // Guest accesses to memory-mapped and port ranges; what nobody decodes reads as all ones.
    std::uint64_t memory_read(std::uint64_t address, std::uint32_t size);
    void memory_write(std::uint64_t address, std::uint32_t size, std::uint64_t value);
    std::uint64_t io_read(std::uint64_t port, std::uint32_t size);
    void io_write(std::uint64_t port, std::uint32_t size, std::uint64_t value);

    // Gives every BAR without an address one and enables decoding, as firmware does at power on
    // and an operating system does after hotplug.
    void assign_addresses();
    void mapping_changed() { mapped_valid_ = false; }

private:
    struct Window {
        std::uint64_t begin = 0, end = 0;
        PciFunction* function = nullptr;
        std::uint32_t bar = 0;
    };
    const Window* find(std::uint64_t address, std::uint32_t size);
    Window find_io(std::uint64_t port, std::uint32_t size) const;
    std::uint64_t free_range(std::uint64_t from, std::uint64_t size, bool io) const;

    std::array<PciFunction*, 256> functions_{};
    std::vector<PciFunction*> plugged_;
    std::vector<Window> windows_;  // memory BARs that decode, by address
    bool mapped_valid_ = false;
};

}  // namespace hwmodels
