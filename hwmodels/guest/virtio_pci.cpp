// SPDX-License-Identifier: Apache-2.0
#include "hwmodels/guest/virtio_pci.hpp"

#include "blocklayer/layer.hpp"
#include "hwmodels/virtio/pci_transport.hpp"
#include "sim/check.hpp"

namespace hwmodels::guest {

using blocklayer::failure;
using blocklayer::Result;
using blocklayer::Status;
using namespace virtio_pci;

namespace {

constexpr sim::Duration status_poll = sim::microseconds(10);
constexpr std::uint16_t vendor_virtio = 0x1af4;

}  // namespace

GuestHeap& heap_of(Machine& machine) {
    if (machine.guest_heap == nullptr)
        machine.guest_heap = std::make_shared<GuestHeap>(machine.memory());
    return *machine.guest_heap;
}

Result<std::unique_ptr<VirtioPciDriver>> VirtioPciDriver::probe(Machine& machine, int devfn) {
    PciFunction* function = devfn >= 0 && devfn < 256 ? machine.pci().at(devfn) : nullptr;
    if (function == nullptr) return failure("no PCI function there");
    const auto read = [&](std::uint32_t at, std::uint32_t size) {
        return function->config_read(at, size);
    };
    if (read(pci_config::vendor_id, 2) != vendor_virtio) return failure("not a virtio function");
    machine.pci().assign_addresses();
    function->config_write(pci_config::command, 2,
                           read(pci_config::command, 2) | pci_config::command_master);
    std::unique_ptr<VirtioPciDriver> driver(new VirtioPciDriver(machine));
    driver->place_ = function->place();
    driver->pci_device_ = static_cast<std::uint16_t>(read(pci_config::device_id, 2));
    int left = 48;  // a list of capabilities is no longer than this
    for (std::uint32_t at = read(pci_config::capabilities, 1); at != 0 && left > 0;
         at = read(at + 1, 1), --left) {
        const auto region = [&](std::uint32_t bar, std::uint32_t offset) {
            const std::uint64_t base =
                bar < 6 ? function->bar_address(bar) : pci_config::unassigned;
            return base == pci_config::unassigned ? 0 : base + offset;
        };
        if (read(at, 1) == pci_config::capability_msix) {
            const std::uint32_t table = read(at + 4, 4);
            driver->msix_table_ = region(table & 7, table & ~7U);
            driver->msix_capability_ = at;
            function->config_write(at + 2, 2, 0x8000);
        }
        if (read(at, 1) != pci_config::capability_vendor) continue;
        const std::uint64_t address = region(read(at + 4, 1), read(at + 8, 4));
        switch (read(at + 3, 1)) {
        case cap_common: driver->common_ = address; break;
        case cap_device: driver->device_ = address; break;
        case cap_notify:
            driver->notify_ = address;
            driver->notify_multiplier_ = read(at + 16, 4);
            break;
        default: break;
        }
    }
    if (driver->common_ == 0 || driver->notify_ == 0 || driver->device_ == 0 ||
        driver->msix_table_ == 0)
        return failure("the function's registers are not mapped");
    return driver;
}

VirtioPciDriver::~VirtioPciDriver() { forget(); }

void VirtioPciDriver::free_vectors() {
    for (Queue& queue : queues_)
        if (queue.has_vector) machine_.interrupts().free_vector(queue.vector);
    if (has_config_vector_) machine_.interrupts().free_vector(config_vector_);
    has_config_vector_ = false;
}

void VirtioPciDriver::forget() {
    free_vectors();
    queues_.clear();
}

std::uint64_t VirtioPciDriver::common(std::uint32_t offset, std::uint32_t size) const {
    return machine_.pci().memory_read(common_ + offset, size);
}

void VirtioPciDriver::write_common(std::uint32_t offset, std::uint32_t size, std::uint64_t value) {
    machine_.pci().memory_write(common_ + offset, size, value);
}

std::uint64_t VirtioPciDriver::config(std::uint32_t offset, std::uint32_t size) const {
    return machine_.pci().memory_read(device_ + offset, size);
}

void VirtioPciDriver::write_config(std::uint32_t offset, std::uint32_t size, std::uint64_t value) {
    machine_.pci().memory_write(device_ + offset, size, value);
}

void VirtioPciDriver::ring_doorbell(std::size_t index) {
    machine_.pci().memory_write(queues_[index].doorbell, 2, index);
}

bool VirtioPciDriver::needs_reset() const {
    return (common(device_status, 1) & virtio::status_needs_reset) != 0;
}

std::uint64_t VirtioPciDriver::device_features() const {
    auto& bus = machine_.pci();
    bus.memory_write(common_ + device_feature_select, 4, 0);
    const std::uint64_t low = common(device_feature, 4);
    bus.memory_write(common_ + device_feature_select, 4, 1);
    return low | common(device_feature, 4) << 32;
}

void VirtioPciDriver::reset(sim::Co& co) {
    write_common(device_status, 1, 0);
    // All ones: nobody is there any more, and never will be.
    for (std::uint64_t status; (status = common(device_status, 1)) != 0 && status != 0xff;) {
        machine_.wait_running(co);
        co.sleep(status_poll);
    }
    forget();
}

Status VirtioPciDriver::negotiate(sim::Co& co, std::uint64_t features) {
    reset(co);
    write_common(device_status, 1, virtio::status_acknowledge);
    write_common(device_status, 1, virtio::status_acknowledge | virtio::status_driver);
    for (std::uint32_t half = 0; half < 2; ++half) {
        write_common(driver_feature_select, 4, half);
        write_common(driver_feature, 4, features >> (32 * half) & 0xffff'ffff);
    }
    const std::uint8_t wanted =
        virtio::status_acknowledge | virtio::status_driver | virtio::status_features_ok;
    write_common(device_status, 1, wanted);
    if (common(device_status, 1) != wanted) return failure("the device refuses the features");
    features_ = features;
    queues_.resize(queue_count());
    return {};
}

std::size_t VirtioPciDriver::queue_count() const { return common(num_queues, 2); }

void VirtioPciDriver::write_msix(std::uint32_t entry, const MsiMessage& message) {
    auto& bus = machine_.pci();
    const std::uint64_t at = msix_table_ + 16 * entry;
    bus.memory_write(at, 4, message.address & 0xffff'ffff);
    bus.memory_write(at + 4, 4, message.address >> 32);
    bus.memory_write(at + 8, 4, message.data);
    bus.memory_write(at + 12, 4, 0);  // unmasked
}

void VirtioPciDriver::set_config_handler(std::function<void()> handler) {
    EXPECTS(!has_config_vector_);
    config_vector_ = machine_.interrupts().allocate_vector(std::move(handler));
    has_config_vector_ = true;
    write_msix(0, config_vector_);
    write_common(msix_config, 2, 0);
}

Status VirtioPciDriver::setup_queue(std::size_t index, std::uint16_t size_max,
                                    std::function<void()> on_interrupt) {
    EXPECTS(index < queues_.size());
    write_common(queue_select, 2, index);
    const auto offered = static_cast<std::uint16_t>(common(queue_size, 2));
    if (offered == 0) return failure("the queue does not exist");
    const std::uint16_t size = std::min(offered, size_max);
    write_common(queue_size, 2, size);
    Queue& queue = queues_[index];
    queue.ring = std::make_unique<Ring>(machine_.memory(), heap_of(machine_), size,
                                        (features_ & virtio::feature_event_index) != 0,
                                        (features_ & virtio::feature_indirect) != 0);
    queue.vector = machine_.interrupts().allocate_vector(std::move(on_interrupt), place_);
    queue.has_vector = true;
    const auto entry = static_cast<std::uint32_t>(index + 1);
    write_msix(entry, queue.vector);
    write_common(queue_msix_vector, 2, entry);
    if (common(queue_msix_vector, 2) != entry) return failure("the device has too few vectors");
    write_common(queue_desc, 8, queue.ring->descriptors());
    write_common(queue_driver, 8, queue.ring->available());
    write_common(queue_device, 8, queue.ring->used());
    queue.doorbell = notify_ + common(queue_notify_off, 2) * notify_multiplier_;
    write_common(queue_enable, 2, 1);
    return {};
}

void VirtioPciDriver::driver_ok() {
    write_common(device_status, 1, common(device_status, 1) | virtio::status_driver_ok);
}

}  // namespace hwmodels::guest
