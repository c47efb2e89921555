// SPDX-License-Identifier: Apache-2.0
#include "hwmodels/pci/bus.hpp"

#include <fmt/format.h>
#include <algorithm>

#include "sim/check.hpp"

namespace hwmodels {

using namespace pci_config;

namespace {
constexpr std::uint64_t memory_base = 0xc000'0000, memory_end = 0xfebf'0000, io_base = 0xc000,
                        io_end = 0x1'0000;
}  // namespace

blocklayer::Status PciBus::plug(PciFunction& function, int devfn, bool hotplug) {
    EXPECTS(devfn >= -1 && devfn < 256 && function.bus_ == nullptr);
    if (devfn < 0) {
        devfn = 0;
        while (devfn < 256 && at(devfn) != nullptr) devfn += 8;
        if (devfn == 256)
            return blocklayer::failure(
                fmt::format("PCI: no slot/function available for {}, all in use or reserved",
                            function.model()));
    } else if (at(devfn) != nullptr) {
        return blocklayer::failure(
            fmt::format("PCI: slot {} function {} not available for {}, in use by {},id=(null)",
                        devfn >> 3, devfn & 7, function.model(), at(devfn)->model()));
    }
    const int slot = devfn >> 3;
    const PciFunction* first = at(slot << 3);
    if ((devfn & 7) != 0 && first != nullptr && hotplug)
        return blocklayer::failure(
            fmt::format("PCI: slot {} function 0 already occupied by {}, new func {} cannot be "
                        "exposed to guest.",
                        slot, first->model(), function.model()));
    if ((devfn & 7) == 0) {
        for (int other = 1; other < 8; ++other)
            if (at(devfn + other) != nullptr)
                return blocklayer::failure(fmt::format(
                    "PCI: {:x}.0 indicates single function, but {:x}.{:x} is already populated.",
                    slot, slot, other));
    }
    functions_[static_cast<unsigned>(devfn)] = &function;
    function.devfn = devfn;
    const auto place = std::lower_bound(
        plugged_.begin(), plugged_.end(), devfn,
        [](const PciFunction* other, int wanted) { return other->devfn < wanted; });
    plugged_.insert(place, &function);
    function.bus_ = this;
    mapping_changed();
    return {};
}

void PciBus::unplug(PciFunction& function) {
    EXPECTS(function.bus_ == this && at(function.devfn) == &function);
    function.set_intx(false);
    functions_[static_cast<unsigned>(function.devfn)] = nullptr;
    std::erase(plugged_, &function);
    function.bus_ = nullptr;
    mapping_changed();
}

const PciBus::Window* PciBus::find(std::uint64_t address, std::uint32_t size) {
    const auto inside = [&](const Window& window) {
        return address >= window.begin && address < window.end && size <= window.end - address;
    };
    if (!mapped_valid_) {
        windows_.clear();
        for (PciFunction* function : functions())
            for (std::uint32_t number = 0; number < 6; ++number) {
                const std::uint64_t begin = function->bar_address(number);
                if (begin == unassigned || function->bars()[number].kind == BarKind::io) continue;
                const std::uint64_t length = function->bars()[number].size;
                windows_.push_back({begin, begin + length, function, number});
            }
        const auto is_before = [](const Window& a, const Window& b) { return a.begin < b.begin; };
        std::stable_sort(windows_.begin(), windows_.end(), is_before);
        mapped_valid_ = true;
    }
    const auto is_below = [](std::uint64_t at, const Window& window) { return at < window.begin; };
    const auto after = std::upper_bound(windows_.begin(), windows_.end(), address, is_below);
    if (after != windows_.begin() && inside(*std::prev(after))) return &*std::prev(after);
    // Nobody, or one that another BAR begins in the middle of.
    const auto around = std::find_if(windows_.begin(), after, inside);
    return around == after ? nullptr : &*around;
}

std::uint64_t PciBus::memory_read(std::uint64_t address, std::uint32_t size) {
    EXPECTS(size == 1 || size == 2 || size == 4 || size == 8);
    const std::uint64_t mask = size == 8 ? ~0ULL : (1ULL << (8 * size)) - 1;
    const Window* window = find(address, size);
    if (window == nullptr) return mask;
    return mask & window->function->bar_read(window->bar, address - window->begin, size);
}

void PciBus::memory_write(std::uint64_t address, std::uint32_t size, std::uint64_t value) {
    EXPECTS(size == 1 || size == 2 || size == 4 || size == 8);
    const Window* window = find(address, size);
    if (window == nullptr) return;
    window->function->bar_write(window->bar, address - window->begin, size, value);
}

PciBus::Window PciBus::find_io(std::uint64_t port, std::uint32_t size) const {
    for (PciFunction* function : functions())
        for (std::uint32_t number = 0; number < 6; ++number) {
            const std::uint64_t begin = function->bar_address(number);
            if (begin == unassigned || function->bars()[number].kind != BarKind::io) continue;
            const std::uint64_t end = begin + function->bars()[number].size;
            if (port >= begin && port < end && size <= end - port)
                return {begin, end, function, number};
        }
    return {};
}

std::uint64_t PciBus::io_read(std::uint64_t port, std::uint32_t size) {
    EXPECTS(size == 1 || size == 2 || size == 4);
    const std::uint64_t mask = (1ULL << (8 * size)) - 1;
    const Window window = find_io(port, size);
    if (window.function == nullptr) return mask;
    return mask & window.function->bar_read(window.bar, port - window.begin, size);
}

void PciBus::io_write(std::uint64_t port, std::uint32_t size, std::uint64_t value) {
    EXPECTS(size == 1 || size == 2 || size == 4);
    const Window window = find_io(port, size);
    if (window.function == nullptr) return;
    window.function->bar_write(window.bar, port - window.begin, size, value);
}

// The lowest aligned range at or after `from` that no BAR has.
std::uint64_t PciBus::free_range(std::uint64_t from, std::uint64_t size, bool io) const {
    std::uint64_t at = (from + size - 1) & ~(size - 1);
    for (bool moved = true; moved;) {
        moved = false;
        for (const PciFunction* function : functions())
            for (const Bar& bar : function->bars()) {
                if (bar.kind == BarKind::none || bar.address == 0) continue;
                if ((bar.kind == BarKind::io) != io) continue;
                if (at >= bar.address + bar.size || bar.address >= at + size) continue;
                at = (bar.address + bar.size + size - 1) & ~(size - 1);
                moved = true;
            }
    }
    return at;
}

void PciBus::assign_addresses() {
    for (PciFunction* function : functions()) {
        for (std::uint32_t number = 0; number < 6; ++number) {
            const Bar& bar = function->bars()[number];
            if (bar.kind == BarKind::none || bar.address != 0) continue;
            const bool io = bar.kind == BarKind::io;
            const std::uint64_t address = free_range(io ? io_base : memory_base, bar.size, io);
            if (address + bar.size > (io ? io_end : memory_end)) continue;
            function->config_write(bar0 + 4 * number, 4, static_cast<std::uint32_t>(address));
            if (bar.kind == BarKind::memory64)
                function->config_write(bar0 + 4 * number + 4, 4,
                                       static_cast<std::uint32_t>(address >> 32));
        }
        // Written only where it changes something: each write may move what is mapped where.
        const std::uint32_t now = function->config_read(command, 2);
        if ((now | command_io | command_memory) != now)
            function->config_write(command, 2, now | command_io | command_memory);
        if (function->ids().interrupt_pin &&
            function->config_read(interrupt_line, 1) != function->intx_line())
            function->config_write(interrupt_line, 1, function->intx_line());
    }
}

}  // namespace hwmodels
