// SPDX-License-Identifier: Apache-2.0
#include "hwmodels/virtio/pci_transport.hpp"

#include <cstring>

#include "hwmodels/machine.hpp"
#include "sim/check.hpp"

namespace hwmodels {

using namespace virtio_pci;

namespace {

constexpr std::uint64_t legacy_bar_bytes = 128, msix_bar_bytes = 4096;
constexpr std::uint64_t vectors_unset = UINT32_MAX;

}  // namespace

std::vector<PropertySpec> virtio_pci_properties() {
    return pci_properties() + std::vector<PropertySpec>{
        {"disable-legacy", PropertyKind::on_off_auto, "auto"},
        {"disable-modern", PropertyKind::boolean, false},
        {"ioeventfd", PropertyKind::boolean, true},
        {"vectors", PropertyKind::uint32, vectors_unset},
        {"indirect_desc", PropertyKind::boolean, true},
        {"event_idx", PropertyKind::boolean, true},
        {"notify_on_empty", PropertyKind::boolean, true},
        {"any_layout", PropertyKind::boolean, true},
        {"iommu_platform", PropertyKind::boolean, false},
        {"packed", PropertyKind::boolean, false},
        {"queue_reset", PropertyKind::boolean, true},
        {"use-started", PropertyKind::boolean, true},
        {"use-disabled-flag", PropertyKind::boolean, true},
    };
}

VirtioPci::VirtioPci(Machine& machine, const DeviceSpec& spec, const PciIds& ids, MakeDevice make)
    : PciDevice(machine, spec, ids) {
    device_ = make(*this, *this);
}

// A vendor capability that tells where one part of the interface is.
void VirtioPci::add_region(std::uint8_t kind, std::uint64_t offset) {
    std::vector<std::uint8_t> body(kind == cap_notify || kind == cap_pci ? 18 : 14);
    body[0] = static_cast<std::uint8_t>(body.size() + 2);
    body[1] = kind;
    body[2] = modern_bar;
    const auto at = static_cast<std::uint32_t>(offset),
               length = static_cast<std::uint32_t>(region_bytes);
    std::memcpy(&body[6], &at, 4);
    std::memcpy(&body[10], &length, 4);
    if (kind == cap_notify) std::memcpy(&body[14], &notify_multiplier, 4);
    add_capability(pci_config::capability_vendor, body);
}

blocklayer::Status VirtioPci::realize(sim::Co& co) {
    TRY(join_bus());
    blocklayer::Status realized = device_->realize(co);
    if (!realized) {
        leave_bus();
        return realized;
    }
    add_bar(legacy_bar, BarKind::io, legacy_bar_bytes);
    add_bar(msix_bar, BarKind::memory32, msix_bar_bytes);
    add_bar(modern_bar, BarKind::memory64, bar_bytes, true);
    std::uint64_t vectors = properties().number("vectors");
    if (vectors == vectors_unset) vectors = device_->queue_count() + 1;
    vectors = std::min<std::uint64_t>(vectors, msix_bar_bytes / 2 / 16);
    properties().set("vectors", vectors);
    if (vectors > 0) add_msix(static_cast<std::uint32_t>(vectors), msix_bar);
    add_region(cap_common, common_offset);
    add_region(cap_isr, isr_offset);
    add_region(cap_device, device_offset);
    add_region(cap_notify, notify_offset);
    announce();
    return {};
}

void VirtioPci::unrealize(sim::Co& co) {
    // Off the bus first: from here the guest reaches nothing and no request is added.
    leave_bus();
    device_->reset();
    device_->unrealize(co);
}

blocklayer::Status VirtioPci::change_drive(sim::Co&, std::string_view name) {
    return device_->change_drive(name);
}

void VirtioPci::reset() {
    device_->reset();
    device_select_ = driver_select_ = 0;
    queue_select_ = 0;
    isr_ = 0;
}

void VirtioPci::interrupt(std::uint16_t vector, std::uint8_t reason) {
    if (msix_enabled()) {
        raise_msix(vector);
        return;
    }
    isr_ |= reason;
    set_intx(true);
}

VirtQueue* VirtioPci::selected() {
    return queue_select_ < device_->queue_count() ? &device_->queue(queue_select_) : nullptr;
}

std::uint64_t VirtioPci::common_read(std::uint64_t offset) {
    const VirtQueue* queue = selected();
    switch (offset) {
    case device_feature_select: return device_select_;
    case device_feature:
        return device_select_ > 1 ? 0 : device_->offered_features() >> (32 * device_select_);
    case driver_feature_select: return driver_select_;
    case driver_feature:
        return driver_select_ > 1 ? 0 : device_->driver_features >> (32 * driver_select_);
    case msix_config: return device_->config_vector;
    case num_queues: return device_->queue_count();
    case device_status: return device_->status();
    case config_generation: return device_->config_generation();
    case queue_select: return queue_select_;
    default: break;
    }
    if (queue == nullptr) return 0;
    switch (offset) {
    case queue_size: return queue->size;
    case queue_msix_vector: return queue->vector;
    case queue_enable: return queue->enabled ? 1 : 0;
    case queue_notify_off: return queue_select_;
    case queue_desc: return queue->descriptors;
    case queue_desc + 4: return queue->descriptors >> 32;
    case queue_driver: return queue->available;
    case queue_driver + 4: return queue->available >> 32;
    case queue_device: return queue->used;
    case queue_device + 4: return queue->used >> 32;
    case queue_notify_data: return queue_select_;
    case queue_reset: return device_->queue_resetting(queue_select_) ? 1 : 0;
    default: return 0;
    }
}

void VirtioPci::common_write(std::uint64_t offset, std::uint32_t size, std::uint64_t value) {
    const auto vector = [&] {
        return value < msix_vectors() ? static_cast<std::uint16_t>(value) : virtio::no_vector;
    };
    switch (offset) {
    case device_feature_select: device_select_ = static_cast<std::uint32_t>(value); return;
    case driver_feature_select: driver_select_ = static_cast<std::uint32_t>(value); return;
    case driver_feature:
        // Settled once the driver has said so.
        if (driver_select_ > 1 || (device_->status() & virtio::status_features_ok) != 0) return;
        device_->driver_features &= ~(0xffff'ffffULL << (32 * driver_select_));
        device_->driver_features |= (value & 0xffff'ffff) << (32 * driver_select_);
        return;
    case msix_config: device_->config_vector = vector(); return;
    case device_status: device_->write_status(static_cast<std::uint8_t>(value)); return;
    case queue_select: queue_select_ = static_cast<std::uint16_t>(value); return;
    default: break;
    }
    VirtQueue* queue = selected();
    if (queue == nullptr) return;
    if (offset == queue_msix_vector) queue->vector = vector();
    if (offset == queue_enable && value == 1) device_->enable_queue(queue_select_);
    if (offset == queue_reset && value == 1) device_->reset_queue(queue_select_);
    if (queue->enabled) return;
    // Addresses may come as one eight-byte or two four-byte writes.
    const auto half = [&](std::uint64_t& address, std::uint32_t base) {
        if (size == 8 && offset == base) {
            address = value;
        } else if (offset == base) {
            address = (address & ~0xffff'ffffULL) | (value & 0xffff'ffff);
        } else if (offset == base + 4) {
            address = (address & 0xffff'ffffULL) | value << 32;
        }
    };
    if (offset == queue_size && value != 0 && value <= queue->size)
        queue->size = static_cast<std::uint16_t>(value);
    half(queue->descriptors, queue_desc);
    half(queue->available, queue_driver);
    half(queue->used, queue_device);
}

std::uint64_t VirtioPci::bar_read(std::uint32_t bar, std::uint64_t offset, std::uint32_t size) {
    if (bar == msix_bar) return PciFunction::bar_read(bar, offset, size);
    if (bar != modern_bar) return ~0ULL;
    const std::uint64_t inside = offset % region_bytes;
    switch (offset - inside) {
    case common_offset:
        if (size == 8) return common_read(inside) | common_read(inside + 4) << 32;
        return common_read(inside);
    case isr_offset: {
        if (inside != 0) return 0;
        const std::uint8_t reasons = std::exchange(isr_, std::uint8_t{0});
        set_intx(false);
        return reasons;
    }
    case device_offset: return device_->config_read(inside, size);
    default: return 0;
    }
}

void VirtioPci::bar_write(std::uint32_t bar, std::uint64_t offset, std::uint32_t size,
                          std::uint64_t value) {
    if (bar == msix_bar) {
        PciFunction::bar_write(bar, offset, size, value);
        return;
    }
    if (bar != modern_bar) return;
    const std::uint64_t inside = offset % region_bytes;
    switch (offset - inside) {
    case common_offset: common_write(inside, size, value); return;
    case device_offset: device_->config_write(inside, size, value); return;
    case notify_offset: device_->notify(inside / notify_multiplier); return;
    default: return;
    }
}

}  // namespace hwmodels
