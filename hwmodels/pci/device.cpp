// SPDX-License-Identifier: Apache-2.0
#include "hwmodels/pci/device.hpp"

#include <cstring>

#include "hwmodels/pci/bus.hpp"
#include "sim/check.hpp"

namespace hwmodels {

using namespace pci_config;

namespace {
constexpr std::uint32_t msix_entry_size = 16, msix_enable = 0x8000, msix_mask_all = 0x4000;
constexpr std::uint64_t pending_offset(std::uint64_t bar_size) { return bar_size / 2; }
}  // namespace

template <class T>
void PciFunction::put(std::uint32_t offset, T value) {
    std::memcpy(&config_[offset], &value, sizeof(T));
}

PciFunction::PciFunction(Interrupts& interrupts, std::string model, const PciIds& ids)
    : interrupts_(interrupts), model_(std::move(model)), ids_(ids) {
    put(vendor_id, ids.vendor);
    put(pci_config::device_id, ids.device);
    put(revision, ids.revision);
    for (std::uint32_t i = 0; i < 3; ++i)
        config_[class_code + i] = static_cast<std::uint8_t>(ids.class_code >> (8 * i));
    put(subsystem_vendor, ids.subsystem_vendor);
    put(subsystem_id, ids.subsystem);
    put(interrupt_pin, static_cast<std::uint8_t>(ids.interrupt_pin ? 1 : 0));
    writable_[command] = command_io | command_memory | command_master;
    writable_[command + 1] = command_interrupt_disable >> 8;
    writable_[interrupt_line] = 0xff;
}

void PciFunction::add_bar(std::uint32_t number, BarKind kind, std::uint64_t size,
                          bool prefetchable) {
    EXPECTS(number < 6 && size >= 4 && (size & (size - 1)) == 0);
    EXPECTS(kind != BarKind::memory64 || number < 5);
    bars_[number] = {kind, prefetchable, size, 0};
    write_bar(number);
}

// Puts the type bits and the address, cut to the size, back into the register.
void PciFunction::write_bar(std::uint32_t number) {
    Bar& bar = bars_[number];
    const std::uint32_t at = bar0 + 4 * number;
    bar.address &= ~(bar.size - 1);
    std::uint32_t low = static_cast<std::uint32_t>(bar.address);
    if (bar.kind == BarKind::io) low |= 1;
    if (bar.kind == BarKind::memory64) low |= 4;
    if (bar.prefetchable) low |= 8;
    put(at, low);
    if (bar.kind == BarKind::memory64) put(at + 4, static_cast<std::uint32_t>(bar.address >> 32));
}

std::uint64_t PciFunction::bar_address(std::uint32_t number) const {
    const Bar& bar = bars_[number];
    const std::uint16_t needed = bar.kind == BarKind::io ? command_io : command_memory;
    const bool decodes = bar.kind != BarKind::none && (word(command, 2) & needed) != 0;
    return decodes && bar.address != 0 ? bar.address : unassigned;
}

bool PciFunction::bus_master() const { return (word(command, 2) & command_master) != 0; }

std::uint32_t PciFunction::add_capability(std::uint8_t id, const std::vector<std::uint8_t>& body) {
    const std::uint32_t at = next_capability_;
    EXPECTS(at + 2 + body.size() <= 256);
    config_[last_link_] = static_cast<std::uint8_t>(at);
    config_[at] = id;
    config_[at + 1] = 0;
    std::memcpy(&config_[at + 2], body.data(), body.size());
    last_link_ = at + 1;
    next_capability_ = static_cast<std::uint32_t>((at + 2 + body.size() + 3) & ~std::size_t{3});
    put(status, static_cast<std::uint16_t>(word(status, 2) | status_capabilities));
    return at;
}

void PciFunction::add_msix(std::uint32_t vectors, std::uint32_t bar) {
    EXPECTS(vectors >= 1 && vectors <= 2048 && bar < 6);
    EXPECTS(vectors * msix_entry_size <= pending_offset(bars_[bar].size));
    msix_.resize(vectors);
    msix_bar_ = bar;
    const std::uint32_t pending = static_cast<std::uint32_t>(pending_offset(bars_[bar].size));
    std::vector<std::uint8_t> body(10);
    const std::uint16_t control = static_cast<std::uint16_t>(vectors - 1);
    const std::uint32_t table = bar, bits = pending | bar;
    std::memcpy(&body[0], &control, 2);
    std::memcpy(&body[2], &table, 4);
    std::memcpy(&body[6], &bits, 4);
    msix_capability_ = add_capability(capability_msix, body);
    writable_[msix_capability_ + 3] = (msix_enable | msix_mask_all) >> 8;
}

std::uint32_t PciFunction::word(std::uint32_t offset, std::uint32_t size) const {
    std::uint32_t value = 0;
    std::memcpy(&value, &config_[offset], size);
    return value;
}

std::uint32_t PciFunction::config_read(std::uint32_t offset, std::uint32_t size) const {
    if (size == 0 || size > 4 || offset > 256 - size) return ~0U;
    return word(offset, size);
}

void PciFunction::config_write(std::uint32_t offset, std::uint32_t size, std::uint32_t value) {
    if (size == 0 || size > 4 || offset > 256 - size) return;
    for (std::uint32_t i = 0; i < size; ++i) {
        const std::uint32_t at = offset + i;
        const auto byte = static_cast<std::uint8_t>(value >> (8 * i));
        config_[at] =
            static_cast<std::uint8_t>((config_[at] & ~writable_[at]) | (byte & writable_[at]));
        if (at < bar0 || at >= bar0 + 24) continue;
        // The register may be the upper half of the 64-bit BAR before it.
        std::uint32_t number = (at - bar0) / 4;
        std::uint32_t shift = 8 * ((at - bar0) % 4);
        if (number > 0 && bars_[number - 1].kind == BarKind::memory64) {
            --number;
            shift += 32;
        }
        if (bars_[number].kind == BarKind::none) continue;
        bars_[number].address &= ~(std::uint64_t{0xff} << shift);
        bars_[number].address |= std::uint64_t{byte} << shift;
    }
    for (std::uint32_t number = 0; number < 6; ++number)
        if (bars_[number].kind != BarKind::none) write_bar(number);
    if (bus_ != nullptr) bus_->mapping_changed();
    if (msix_enabled()) fire_pending();
}

void PciFunction::reset_config() {
    put(command, std::uint16_t{0});
    config_[interrupt_line] = 0;
    for (std::uint32_t number = 0; number < 6; ++number) {
        bars_[number].address = 0;
        if (bars_[number].kind != BarKind::none) write_bar(number);
    }
    for (MsixEntry& entry : msix_) entry = {};
    if (msix_capability_ != 0) config_[msix_capability_ + 3] &= 0x3f;
    set_intx(false);
    if (bus_ != nullptr) bus_->mapping_changed();
}

bool PciFunction::msix_enabled() const {
    return msix_capability_ != 0 && (word(msix_capability_ + 2, 2) & msix_enable) != 0;
}

void PciFunction::raise_msix(std::uint32_t vector) {
    if (vector >= msix_.size()) return;
    MsixEntry& entry = msix_[vector];
    const bool masked = (entry.control & 1) != 0 || !msix_enabled() ||
                        (word(msix_capability_ + 2, 2) & msix_mask_all) != 0;
    if (masked) {
        entry.pending = true;
        return;
    }
    entry.pending = false;
    interrupts_.deliver({entry.address_low | std::uint64_t{entry.address_high} << 32, entry.data});
}

void PciFunction::fire_pending() {
    for (std::uint32_t vector = 0; vector < msix_.size(); ++vector)
        if (msix_[vector].pending) raise_msix(vector);
}

void PciFunction::set_intx(bool high) {
    const bool disabled = (word(command, 2) & command_interrupt_disable) != 0;
    high = high && !disabled && ids_.interrupt_pin;
    if (high == intx_ || devfn < 0) return;
    intx_ = high;
    interrupts_.set_line(intx_line(), static_cast<std::uint64_t>(devfn), high);
}

std::uint32_t PciFunction::msix_read(std::uint64_t offset) const {
    if (offset < msix_.size() * msix_entry_size) {
        const MsixEntry& entry = msix_[offset / msix_entry_size];
        switch (offset % msix_entry_size / 4) {
        case 0: return entry.address_low;
        case 1: return entry.address_high;
        case 2: return entry.data;
        default: return entry.control;
        }
    }
    const std::uint64_t pending = pending_offset(bars_[msix_bar_].size);
    if (offset < pending) return 0;
    std::uint32_t bits = 0;
    const std::uint64_t first = (offset - pending) * 8;
    for (std::uint32_t i = 0; i < 32 && first + i < msix_.size(); ++i)
        bits |= std::uint32_t{msix_[first + i].pending} << i;
    return bits;
}

void PciFunction::msix_write(std::uint64_t offset, std::uint32_t value) {
    if (offset >= msix_.size() * msix_entry_size) return;
    const auto vector = static_cast<std::uint32_t>(offset / msix_entry_size);
    MsixEntry& entry = msix_[vector];
    switch (offset % msix_entry_size / 4) {
    case 0: entry.address_low = value & ~3U; break;
    case 1: entry.address_high = value; break;
    case 2: entry.data = value; break;
    default:
        entry.control = value & 1;
        if (entry.pending) raise_msix(vector);
    }
}

std::uint64_t PciFunction::bar_read(std::uint32_t bar, std::uint64_t offset, std::uint32_t size) {
    if (bar != msix_bar_ || size == 0 || offset + size > bars_[bar].size) return ~0ULL;
    std::uint64_t value = msix_read(offset & ~3ULL);
    if (size == 8 && offset % 8 == 0) value |= std::uint64_t{msix_read(offset + 4)} << 32;
    return value >> (8 * (offset % 4));
}

void PciFunction::bar_write(std::uint32_t bar, std::uint64_t offset, std::uint32_t size,
                            std::uint64_t value) {
    // The specification allows only whole aligned words here.
    if (bar != msix_bar_ || offset % size != 0 || (size != 4 && size != 8)) return;
    msix_write(offset, static_cast<std::uint32_t>(value));
    if (size == 8) msix_write(offset + 4, static_cast<std::uint32_t>(value >> 32));
}

}  // namespace hwmodels
