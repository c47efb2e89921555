// SPDX-License-Identifier: Apache-2.0
#include "hwmodels/ata/piix.hpp"

#include <fmt/format.h>
#include <algorithm>

#include "hwmodels/ata/drive.hpp"
#include "hwmodels/machine.hpp"
#include "sim/check.hpp"

namespace hwmodels {

using namespace piix;

namespace {
constexpr std::uint64_t bar_bytes = 16;
constexpr std::uint64_t line_holder = 1 << 16;  // apart from the functions of the PCI bus
}  // namespace

PiixIde::PiixIde(Machine& machine, const PciIds& ids)
    : PciFunction(machine.interrupts(), "piix3-ide", ids), machine_(machine) {
    add_bar(bus_master_bar, BarKind::io, bar_bytes);
    for (std::size_t i = 0; i < channels_.size(); ++i) {
        machine.ports().claim(command_ports[i], 8, *this);
        machine.ports().claim(control_ports[i], 1, *this);
    }
}

PiixIde::~PiixIde() { machine_.ports().release(*this); }

std::vector<std::unique_ptr<Bus>> PiixIde::make_buses() {
    std::vector<std::unique_ptr<Bus>> buses;
    for (std::size_t i = 0; i < channels_.size(); ++i) {
        AtaHost& host = *this;
        auto bus = std::make_unique<AtaBus>(fmt::format("ide.{}", i), nullptr, host, 2);
        channels_[i].bus = bus.get();
        buses.push_back(std::move(bus));
    }
    return buses;
}

sim::Thread& PiixIde::thread() const { return machine_.world().main_thread(); }

std::size_t PiixIde::index_of(const AtaDrive& drive) const {
    return &drive.ata_bus() == channels_[0].bus ? 0 : 1;
}

void PiixIde::set_line(std::size_t index, bool high) {
    machine_.interrupts().set_line(lines[index], line_holder, high);
}

void PiixIde::interrupt(AtaDrive& drive) {
    const std::size_t index = index_of(drive);
    Channel& channel = channels_[index];
    channel.status |= bm_interrupt;
    if (channel.selected == drive.unit && (channel.control & ata::control_no_interrupt) == 0)
        set_line(index, true);
}

bool PiixIde::move(sim::Co& co, AtaDrive& drive, std::span<std::byte> bytes, bool to_host) {
    return drive.move_by_register(co, bytes, to_host);
}

void PiixIde::cancelled(AtaDrive& drive) {
    Channel& channel = channels_[index_of(drive)];
    channel.status &= static_cast<std::uint8_t>(~bm_active);
    channel.started.wake_all();
}

void PiixIde::command_ended(AtaDrive& drive) {
    Channel& channel = channels_[index_of(drive)];
    channel.transferring = false;
    if (channel.table_ended || (channel.command & bm_start) == 0)
        channel.status &= static_cast<std::uint8_t>(~bm_active);
}

void PiixIde::reset_ended(AtaDrive& drive) {
    Channel& channel = channels_[index_of(drive)];
    channel.entry = channel.table;
    channel.entry_done = 0;
    channel.table_ended = false;
}

// The guest names its memory in a table, and says when the transfer may begin.
bool PiixIde::map(sim::Co& co, AtaDrive& drive, std::uint64_t bytes,
                  std::vector<sim::IoVec>& list) {
    Channel& channel = channels_[index_of(drive)];
    channel.transferring = false;
    if ((channel.command & bm_start) == 0)
        channel.status &= static_cast<std::uint8_t>(~bm_active);
    while (drive.alive() && (channel.command & bm_start) == 0) channel.started.wait(co);
    list.clear();
    if (!drive.alive()) return false;
    channel.transferring = true;
    while (bytes > 0 && !channel.table_ended) {
        std::uint32_t address = 0, count = 0;
        if (!machine_.memory().read(channel.entry, address) ||
            !machine_.memory().read(channel.entry + 4, count)) {
            channel.table_ended = true;
            break;
        }
        const std::uint32_t size = (count & 0xfffe) == 0 ? 0x10000 : count & 0xfffe;
        const std::uint64_t part = std::min<std::uint64_t>(size - channel.entry_done, bytes);
        std::byte* at =
            machine_.memory().span(std::uint64_t{address & ~1U} + channel.entry_done, part);
        if (at == nullptr) {
            channel.table_ended = true;
            channel.status |= bm_error;
            break;
        }
        list.push_back({at, part});
        bytes -= part;
        channel.entry_done += static_cast<std::uint32_t>(part);
        if (channel.entry_done < size) break;
        channel.entry_done = 0;
        channel.entry += prd_bytes;
        channel.table_ended = (count & prd_last) != 0;
    }
    return true;
}

// ---- registers ---------------------------------------------------------------------------------

std::uint32_t PiixIde::port_read(std::uint32_t port, std::uint32_t size) {
    for (std::size_t index = 0; index < channels_.size(); ++index) {
        Channel& channel = channels_[index];
        AtaDrive* drive = channel.bus->drive(channel.selected);
        if (port == control_ports[index]) return drive != nullptr ? drive->status() : 0;
        if (port < command_ports[index] || port >= command_ports[index] + 8) continue;
        const unsigned reg = port - command_ports[index];
        if (drive == nullptr) return channel.bus->devices().empty() ? 0xff : 0;
        if (reg == ata::data) {
            std::uint32_t value = drive->read_data();
            if (size == 4) value |= std::uint32_t{drive->read_data()} << 16;
            return value;
        }
        if (reg == ata::status_command) set_line(index, false);
        return drive->read(reg);
    }
    return ~0U;
}

void PiixIde::port_write(std::uint32_t port, std::uint32_t size, std::uint32_t value) {
    for (std::size_t index = 0; index < channels_.size(); ++index) {
        if (port == control_ports[index])
            write_control(index, static_cast<std::uint8_t>(value));
        else if (port >= command_ports[index] && port < command_ports[index] + 8)
            write_register(index, port - command_ports[index], size, value);
    }
}

void PiixIde::write_register(std::size_t index, unsigned reg, std::uint32_t size,
                             std::uint32_t value) {
    Channel& channel = channels_[index];
    const auto byte = static_cast<std::uint8_t>(value);
    if (reg == ata::device) channel.selected = (byte & ata::device_second) != 0 ? 1 : 0;
    AtaDrive* drive = channel.bus->drive(channel.selected);
    if (reg == ata::data) {
        if (drive == nullptr) return;
        drive->write_data(static_cast<std::uint16_t>(value));
        if (size == 4) drive->write_data(static_cast<std::uint16_t>(value >> 16));
        return;
    }
    if (reg == ata::status_command) {
        set_line(index, false);
        if (drive != nullptr) drive->start(byte);
        return;
    }
    // Both drives see the task file.
    for (std::uint32_t unit = 0; unit < 2; ++unit)
        if (AtaDrive* one = channel.bus->drive(unit)) one->write(reg, byte);
}

void PiixIde::write_control(std::size_t index, std::uint8_t value) {
    Channel& channel = channels_[index];
    const bool resets = (value & ~channel.control & ata::control_reset) != 0;
    channel.control = value;
    if (!resets) return;
    channel.selected = 0;
    for (std::uint32_t unit = 0; unit < 2; ++unit)
        if (AtaDrive* drive = channel.bus->drive(unit)) drive->reset();
}

void PiixIde::reset_channels() {
    for (std::size_t index = 0; index < channels_.size(); ++index) {
        Channel& channel = channels_[index];
        channel.selected = 0;
        channel.control = channel.command = 0;
        channel.status = bm_capable;
        channel.table = 0;
        set_line(index, false);
    }
}

std::uint64_t PiixIde::bar_read(std::uint32_t bar, std::uint64_t offset, std::uint32_t size) {
    if (bar != bus_master_bar) return ~0ULL;
    const Channel& channel = channels_[offset / channel_bytes];
    switch (offset % channel_bytes) {
    case bm_command: return channel.command;
    case bm_status: return channel.status;
    case bm_table: return size == 4 ? channel.table : ~0ULL;
    default: return ~0ULL;
    }
}

void PiixIde::bar_write(std::uint32_t bar, std::uint64_t offset, std::uint32_t size,
                        std::uint64_t value) {
    if (bar != bus_master_bar) return;
    Channel& channel = channels_[offset / channel_bytes];
    const auto byte = static_cast<std::uint8_t>(value);
    switch (offset % channel_bytes) {
    case bm_command: {
        const bool starts = (byte & ~channel.command & bm_start) != 0;
        channel.command = byte & (bm_start | bm_to_memory);
        // What is under way goes on in the guest's memory, which may have it back afterwards.
        if ((byte & bm_start) == 0 && !channel.transferring)
            channel.status &= static_cast<std::uint8_t>(~bm_active);
        if (!starts) return;
        channel.entry = channel.table;
        channel.entry_done = 0;
        channel.table_ended = false;
        channel.status |= bm_active;
        channel.started.wake_all();
        return;
    }
    case bm_status:
        // Two bits are cleared by writing them, two are the guest's own, one is the device's.
        channel.status =
            static_cast<std::uint8_t>((byte & bm_capable) | (channel.status & bm_active) |
                                      (channel.status & ~byte & (bm_error | bm_interrupt)));
        return;
    case bm_table:
        if (size == 4) channel.table = static_cast<std::uint32_t>(value) & ~3U;
        return;
    default: return;
    }
}

}  // namespace hwmodels
