// SPDX-License-Identifier: Apache-2.0
// VirtioPci: the PCI function that carries a virtio device.
//
// Layout of BAR 4: common configuration at 0, interrupt status at 0x1000, device configuration at
// 0x2000, doorbells at 0x3000 (four bytes each). BAR 1 holds the MSI-X table. BAR 0 is the place of
// the legacy interface, which answers nothing: drivers find the modern one by its capabilities.
//
// source  VIRTIO 1.2 section 4.1; register layout as the reference's devices have it.
#pragma once
#include <functional>
#include <memory>

#include "hwmodels/pci/pci_device.hpp"
#include "hwmodels/virtio/device.hpp"

namespace hwmodels {

namespace virtio_pci {
constexpr std::uint8_t cap_common = 1, cap_notify = 2, cap_isr = 3, cap_device = 4, cap_pci = 5;
constexpr std::uint64_t common_offset = 0, isr_offset = 0x1000, device_offset = 0x2000,
                        notify_offset = 0x3000, region_bytes = 0x1000, bar_bytes = 0x4000;
constexpr std::uint32_t notify_multiplier = 4;
constexpr std::uint32_t legacy_bar = 0, msix_bar = 1, modern_bar = 4;
// Common configuration registers.
constexpr std::uint32_t device_feature_select = 0x00, device_feature = 0x04,
                        driver_feature_select = 0x08, driver_feature = 0x0c, msix_config = 0x10,
                        num_queues = 0x12, device_status = 0x14, config_generation = 0x15,
                        queue_select = 0x16, queue_size = 0x18, queue_msix_vector = 0x1a,
                        queue_enable = 0x1c, queue_notify_off = 0x1e, queue_desc = 0x20,
                        queue_driver = 0x28, queue_device = 0x30, queue_notify_data = 0x38,
                        queue_reset = 0x3a;
}  // namespace virtio_pci

// The properties every virtio PCI function has.
std::vector<PropertySpec> virtio_pci_properties();

class VirtioPci final : public PciDevice, private VirtioTransport {
public:
    using MakeDevice = std::unique_ptr<VirtioDevice> (*)(Device& host, VirtioTransport& transport);
    VirtioPci(Machine& machine, const DeviceSpec& spec, const PciIds& ids, MakeDevice make);

    VirtioDevice& virtio() const { return *device_; }

    blocklayer::Status realize(sim::Co& co) override;
    void unrealize(sim::Co& co) override;
    blocklayer::Status set_drive(std::string_view name) override {
        return device_->set_drive(name);
    }
    blocklayer::Status change_drive(sim::Co& co, std::string_view name) override;
    blocklayer::BlockBackend* backend() const override { return device_->backend(); }
    void reset() override;
    void run_state_changed(bool running) override { device_->run_state_changed(running); }
    std::string backend_path() const override { return path() + "/virtio-backend"; }

    std::uint64_t bar_read(std::uint32_t bar, std::uint64_t offset, std::uint32_t size) override;
    void bar_write(std::uint32_t bar, std::uint64_t offset, std::uint32_t size,
                   std::uint64_t value) override;

    // The model may add a bus for devices behind it.
    using Device::add_bus;
    using Device::drop_buses;

private:
    void interrupt(std::uint16_t vector, std::uint8_t reason) override;
    sim::Place place() const override { return PciFunction::place(); }
    std::uint64_t common_read(std::uint64_t offset);
    void common_write(std::uint64_t offset, std::uint32_t size, std::uint64_t value);
    void add_region(std::uint8_t kind, std::uint64_t offset);
    VirtQueue* selected();

    std::unique_ptr<VirtioDevice> device_;
    std::uint32_t device_select_ = 0, driver_select_ = 0;
    std::uint16_t queue_select_ = 0;
    std::uint8_t isr_ = 0;
};

}  // namespace hwmodels
