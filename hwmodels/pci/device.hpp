// SPDX-License-Identifier: Apache-2.0
// PciFunction: configuration space, base address registers, capabilities, interrupts of one
// function.
//
// Accesses arrive from the guest with any size and offset; what makes no sense reads as all ones
// or is dropped, as on the bus.
//
// source     PCI Local Bus 3.0: configuration header (6.1), capabilities (6.7), MSI-X (6.8.2).
// invariant  a BAR decodes only while its kind of decoding is enabled in the command register
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "hwmodels/host_bus/interrupts.hpp"

namespace hwmodels {

class PciBus;

struct PciIds {
    std::uint16_t vendor = 0, device = 0;
    std::uint16_t subsystem_vendor = 0, subsystem = 0;
    std::uint8_t revision = 0;
    std::uint32_t class_code = 0;  // 24 bits
    bool interrupt_pin = false;
};

enum class BarKind : std::uint8_t { none, io, memory32, memory64 };

struct Bar {
    BarKind kind = BarKind::none;
    bool prefetchable = false;
    std::uint64_t size = 0;  // a power of two
    std::uint64_t address = 0;
};

namespace pci_config {
constexpr std::uint32_t vendor_id = 0x00, device_id = 0x02, command = 0x04, status = 0x06,
                        revision = 0x08, class_code = 0x09, header_type = 0x0e, bar0 = 0x10,
                        subsystem_vendor = 0x2c, subsystem_id = 0x2e, capabilities = 0x34,
                        interrupt_line = 0x3c, interrupt_pin = 0x3d;
constexpr std::uint16_t command_io = 1, command_memory = 2, command_master = 4,
                        command_interrupt_disable = 0x400;
constexpr std::uint16_t status_capabilities = 0x10;
constexpr std::uint8_t capability_vendor = 0x09, capability_msix = 0x11;
constexpr std::uint64_t unassigned = ~0ULL;
}  // namespace pci_config

class PciFunction {
public:
    PciFunction(Interrupts& interrupts, std::string model, const PciIds& ids);
    PciFunction(const PciFunction&) = delete;
    PciFunction& operator=(const PciFunction&) = delete;
    virtual ~PciFunction() = default;

    const std::string& model() const { return model_; }  // "virtio-blk-pci"
    const PciIds& ids() const { return ids_; }
    int devfn = -1;         // set by the bus
    std::string device_id;  // id given by the user, for query-pci
    // Where its registers, its rings and its driver are.
    sim::Place place() const { return sim::Place::named("PCI function", std::to_string(devfn)); }

    std::uint32_t config_read(std::uint32_t offset, std::uint32_t size) const;
    void config_write(std::uint32_t offset, std::uint32_t size, std::uint32_t value);
    const std::array<Bar, 6>& bars() const { return bars_; }
    // Where a BAR decodes now, or unassigned.
    std::uint64_t bar_address(std::uint32_t number) const;
    bool bus_master() const;

    // Accesses inside a BAR.
    virtual std::uint64_t bar_read(std::uint32_t bar, std::uint64_t offset, std::uint32_t size);
    virtual void bar_write(std::uint32_t bar, std::uint64_t offset, std::uint32_t size,
                           std::uint64_t value);
    void reset_config();  // command, BARs and MSI-X as after power on

    // ---- interrupts ----
    std::uint32_t msix_vectors() const { return static_cast<std::uint32_t>(msix_.size()); }
    bool msix_enabled() const;
    void raise_msix(std::uint32_t vector);  // masked ones stay pending
    void set_intx(bool high);
    // The line the platform's router gives this slot's pin.
    std::uint32_t intx_line() const { return 10 + ((static_cast<unsigned>(devfn) >> 3) & 1); }

protected:
    void add_bar(std::uint32_t number, BarKind kind, std::uint64_t size, bool prefetchable = false);
    // Body without the two header bytes; gives its offset in configuration space.
    std::uint32_t add_capability(std::uint8_t id, const std::vector<std::uint8_t>& body);
    // Table at the start of the BAR, pending bits after it.
    void add_msix(std::uint32_t vectors, std::uint32_t bar);

private:
    struct MsixEntry {
        std::uint32_t address_low = 0, address_high = 0, data = 0, control = 1;  // 1: masked
        bool pending = false;
    };
    template <class T>
    void put(std::uint32_t offset, T value);
    std::uint32_t word(std::uint32_t offset, std::uint32_t size) const;
    void write_bar(std::uint32_t number);
    void fire_pending();
    std::uint32_t msix_read(std::uint64_t offset) const;
    void msix_write(std::uint64_t offset, std::uint32_t value);

    Interrupts& interrupts_;
    std::string model_;
    PciIds ids_;
    std::array<std::uint8_t, 256> config_{};
    std::array<std::uint8_t, 256> writable_{};
    std::array<Bar, 6> bars_{};
    std::uint32_t next_capability_ = 0x40, last_link_ = pci_config::capabilities;
    std::vector<MsixEntry> msix_;
    std::uint32_t msix_bar_ = 6, msix_capability_ = 0;
    bool intx_ = false;

    friend class PciBus;
    PciBus* bus_ = nullptr;
};

}  // namespace hwmodels
