// SPDX-License-Identifier: Apache-2.0
// ich9-ahci: six SATA ports; commands lie in guest memory, one at a time of each port.
//
// A port reset cancels the command first; the drive's signature follows when its I/O is over.
//
// invariant  a slot is answered at most once, and never after its port was reset or stopped
// source     Serial ATA AHCI 1.3.1.
#include "hwmodels/ata/ahci.hpp"

#include <fmt/format.h>
#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "hwmodels/ata/drive.hpp"
#include "hwmodels/machine.hpp"
#include "hwmodels/pci/pci_device.hpp"
#include "sim/check.hpp"

namespace hwmodels {
namespace {

using blocklayer::Status;

// 64-bit addresses, 32 slots, six ports; no native queueing.
constexpr std::uint32_t capabilities_value = 0x8014'1f05, version_value = 0x1'0000;
constexpr std::uint32_t regions_max = 65535;

class Ahci final : public PciDevice, private AtaHost {
public:
    Ahci(Machine& machine, const DeviceSpec& spec, const PciIds& ids)
        : PciDevice(machine, spec, ids) {}

    Status realize(sim::Co& co) override;
    void unrealize(sim::Co& co) override;
    void reset() override;
    std::uint64_t bar_read(std::uint32_t bar, std::uint64_t offset, std::uint32_t size) override;
    void bar_write(std::uint32_t bar, std::uint64_t offset, std::uint32_t size,
                   std::uint64_t value) override;

private:
    struct Port {
        AtaBus* bus = nullptr;
        std::uint64_t list = 0, received = 0;
        std::uint32_t interrupts = 0, enable = 0, command = 0, control = 0, error = 0, issued = 0;
        // The slot that runs, or -1; where its transfer is.
        int current = -1;
        bool halted = false, takes_packet = false;
        std::uint64_t table = 0, header = 0;
        std::uint32_t regions = 0, region = 0, region_done = 0;
        std::uint64_t moved = 0;
        AtaDrive* drive() const { return bus->drive(0); }
    };
    // AtaHost
    sim::Thread& thread() const override { return machine().world().main_thread(); }
    void interrupt(AtaDrive&) override {}
    bool move(sim::Co& co, AtaDrive& drive, std::span<std::byte> bytes, bool to_host) override;
    bool map(sim::Co& co, AtaDrive& drive, std::uint64_t bytes,
             std::vector<sim::IoVec>& list) override;
    void moved(AtaDrive& drive, std::uint64_t bytes) override { port_of(drive).moved += bytes; }
    void command_ended(AtaDrive& drive) override;
    void reset_ended(AtaDrive& drive) override;
    void idle(AtaDrive& drive) override { serve(port_of(drive)); }
    void cancelled(AtaDrive&) override {}

    Port& port_of(const AtaDrive& drive);
    std::uint32_t read_port(const Port& port, std::uint32_t reg) const;
    void write_port(Port& port, std::uint32_t reg, std::uint32_t value);
    void write_command(Port& port, std::uint32_t value);
    void stop(Port& port);
    void serve(Port& port);
    void begin(Port& port, int slot);
    void send_register(Port& port, std::uint32_t cause);
    void update_interrupt();

    std::array<Port, ahci::ports> ports_;
    std::uint32_t control_ = ahci::control_ahci;
};

Status Ahci::realize(sim::Co&) {
    TRY(join_bus());
    add_bar(4, BarKind::io, 32);
    add_bar(ahci::bar, BarKind::memory32, 4096);
    const std::string name =
        id().empty() ? fmt::format("ide.{}", 2 + machine().next_bus_number("ahci")) : id();
    AtaHost& host = *this;
    for (std::size_t i = 0; i < ports_.size(); ++i) {
        auto bus = std::make_unique<AtaBus>(fmt::format("{}.{}", name, i), this, host, 1);
        ports_[i].bus = bus.get();
        add_bus(std::move(bus));
    }
    announce();
    return {};
}

void Ahci::unrealize(sim::Co&) {
    leave_bus();
    drop_buses();
}

void Ahci::reset() {
    control_ = ahci::control_ahci;
    for (Port& port : ports_) {
        stop(port);
        AtaBus* bus = port.bus;
        port = Port();
        port.bus = bus;
    }
    update_interrupt();
}

Ahci::Port& Ahci::port_of(const AtaDrive& drive) {
    const auto found = std::find_if(ports_.begin(), ports_.end(),
                                    [&](const Port& port) { return port.bus == &drive.ata_bus(); });
    EXPECTS(found != ports_.end());
    return *found;
}

// ---- commands ----------------------------------------------------------------------------------

void Ahci::stop(Port& port) {
    if (port.current >= 0 && port.drive() != nullptr) port.drive()->cancel();
    port.current = -1;
    port.issued = 0;
    port.halted = false;
}

void Ahci::serve(Port& port) {
    AtaDrive* drive = port.drive();
    if (drive == nullptr || drive->in_flight() || port.current >= 0 || port.halted) return;
    if ((port.command & ahci::command_start) == 0 || port.issued == 0) return;
    begin(port, std::countr_zero(port.issued));
}

void Ahci::begin(Port& port, int slot) {
    const GuestMemory& memory = machine().memory();
    port.header = port.list + static_cast<std::uint64_t>(slot) * ahci::header_bytes;
    std::uint32_t flags = 0;
    std::array<std::uint8_t, 20> fis{};
    const bool readable = memory.read(port.header, flags) &&
                          memory.read(port.header + 8, port.table) && memory.read(port.table, fis);
    port.issued &= readable ? ~0U : ~(1U << slot);
    if (!readable || fis[0] != ahci::fis_to_device) {
        port.halted = true;
        port.interrupts |= ahci::interrupt_error;
        update_interrupt();
        return;
    }
    port.current = slot;
    port.regions = std::min(flags >> 16, regions_max);
    port.region = port.region_done = 0;
    port.moved = 0;
    port.takes_packet = (flags & ahci::header_packet) != 0;
    AtaDrive& drive = *port.drive();
    if ((fis[1] & ahci::fis_is_command) == 0) {  // only the control register: a soft reset
        port.current = -1;
        port.issued &= ~(1U << slot);
        if ((fis[15] & ata::control_reset) != 0) drive.reset();
        return;
    }
    // The older values first, as a driver of registers would write them.
    drive.write(ata::error_features, fis[11]);
    drive.write(ata::sector_count, fis[13]);
    for (unsigned i = 0; i < 3; ++i) drive.write(ata::lba_low + i, fis[8 + i]);
    drive.write(ata::error_features, fis[3]);
    drive.write(ata::sector_count, fis[12]);
    for (unsigned i = 0; i < 3; ++i) drive.write(ata::lba_low + i, fis[4 + i]);
    drive.write(ata::device, fis[7]);
    drive.start(fis[2]);
}

bool Ahci::map(sim::Co&, AtaDrive& drive, std::uint64_t bytes, std::vector<sim::IoVec>& list) {
    Port& port = port_of(drive);
    list.clear();
    if (!drive.alive()) return false;
    while (bytes > 0 && port.region < port.regions) {
        const std::uint64_t at =
            port.table + ahci::table_regions + std::uint64_t{port.region} * ahci::region_bytes;
        std::uint64_t address = 0;
        std::uint32_t count = 0;
        if (!machine().memory().read(at, address) || !machine().memory().read(at + 12, count))
            break;
        const std::uint32_t size = (count & 0x3f'ffff) + 1;
        const std::uint64_t part = std::min<std::uint64_t>(size - port.region_done, bytes);
        std::byte* memory = machine().memory().span(address + port.region_done, part);
        if (memory == nullptr) {
            port.region = port.regions;
            break;
        }
        list.push_back({memory, part});
        bytes -= part;
        port.region_done += static_cast<std::uint32_t>(part);
        if (port.region_done < size) break;
        port.region_done = 0;
        ++port.region;
    }
    return true;
}

bool Ahci::move(sim::Co& co, AtaDrive& drive, std::span<std::byte> bytes, bool to_host) {
    Port& port = port_of(drive);
    if (!to_host && std::exchange(port.takes_packet, false)) {
        const std::byte* packet =
            machine().memory().span(port.table + ahci::table_packet, bytes.size());
        if (packet != nullptr) std::copy_n(packet, bytes.size(), bytes.begin());
        return true;
    }
    std::vector<sim::IoVec> list;
    while (!bytes.empty()) {
        if (!map(co, drive, bytes.size(), list)) return false;
        const sim::IoView memory{std::span<const sim::IoVec>(list)};
        if (memory.empty()) return true;  // the guest's list is shorter than the data
        if (to_host)
            memory.copy_from(bytes.data());
        else
            memory.copy_to(bytes.data());
        port.moved += memory.size();
        bytes = bytes.subspan(memory.size());
    }
    return true;
}

// What the drive's registers say goes to the guest's memory.
void Ahci::send_register(Port& port, std::uint32_t cause) {
    const AtaDrive& drive = *port.drive();
    std::array<std::uint8_t, 20> fis{};
    fis[0] = ahci::fis_to_host;
    fis[1] = 0x40;
    fis[2] = drive.status();
    fis[3] = drive.read(ata::error_features);
    for (unsigned i = 0; i < 3; ++i) fis[4 + i] = drive.read(ata::lba_low + i);
    fis[7] = drive.read(ata::device);
    fis[12] = drive.read(ata::sector_count);
    if ((port.command & ahci::command_receive) != 0)
        machine().memory().write(port.received + ahci::received_register, fis);
    port.interrupts |= cause;
    update_interrupt();
}

void Ahci::command_ended(AtaDrive& drive) {
    Port& port = port_of(drive);
    if (port.current < 0) return;
    machine().memory().write(port.header + 4, static_cast<std::uint32_t>(port.moved));
    const bool failed = (drive.status() & ata::status_error) != 0;
    // A failed command stays where it is until the guest restarts the port.
    port.halted = failed;
    if (!failed) port.issued &= ~(1U << port.current);
    port.current = -1;
    send_register(port, failed ? ahci::interrupt_error : ahci::interrupt_register);
    serve(port);
}

void Ahci::reset_ended(AtaDrive& drive) {
    Port& port = port_of(drive);
    port.region = port.region_done = 0;
    send_register(port, ahci::interrupt_register);
    serve(port);
}

// ---- registers ---------------------------------------------------------------------------------

void Ahci::update_interrupt() {
    const bool any = std::any_of(ports_.begin(), ports_.end(), [](const Port& port) {
        return (port.interrupts & port.enable) != 0;
    });
    set_intx(any && (control_ & ahci::control_interrupts) != 0);
}

std::uint32_t Ahci::read_port(const Port& port, std::uint32_t reg) const {
    const AtaDrive* drive = port.drive();
    switch (reg) {
    case ahci::list_base: return static_cast<std::uint32_t>(port.list);
    case ahci::list_base + 4: return static_cast<std::uint32_t>(port.list >> 32);
    case ahci::fis_base: return static_cast<std::uint32_t>(port.received);
    case ahci::fis_base + 4: return static_cast<std::uint32_t>(port.received >> 32);
    case ahci::port_interrupts: return port.interrupts;
    case ahci::port_enable: return port.enable;
    case ahci::port_command: return port.command;
    case ahci::task_file:
        if (drive == nullptr) return 0x7f;
        return drive->status() | std::uint32_t{drive->read(ata::error_features)} << 8;
    case ahci::signature: return drive != nullptr ? drive->signature() : 0xffff'ffff;
    case ahci::sata_status: return drive != nullptr ? ahci::link_up : 0;
    case ahci::sata_control: return port.control;
    case ahci::sata_error: return port.error;
    case ahci::issued: return port.issued;
    default: return 0;
    }
}

void Ahci::write_command(Port& port, std::uint32_t value) {
    port.command = value & (ahci::command_start | ahci::command_receive | 0x0f00'0000);
    if ((value & ahci::command_receive) != 0) port.command |= ahci::command_receives;
    if ((value & ahci::command_start) != 0)
        port.command |= ahci::command_runs;
    else
        stop(port);
    serve(port);
}

void Ahci::write_port(Port& port, std::uint32_t reg, std::uint32_t value) {
    const auto low = [&](std::uint64_t old) { return (old & ~0xffff'ffffULL) | value; };
    const auto high = [&](std::uint64_t old) {
        return (old & 0xffff'ffffULL) | std::uint64_t{value} << 32;
    };
    switch (reg) {
    case ahci::list_base: port.list = low(port.list) & ~0x3ffULL; break;
    case ahci::list_base + 4: port.list = high(port.list); break;
    case ahci::fis_base: port.received = low(port.received) & ~0xffULL; break;
    case ahci::fis_base + 4: port.received = high(port.received); break;
    case ahci::port_interrupts: port.interrupts &= ~value; break;
    case ahci::port_enable: port.enable = value; break;
    case ahci::port_command: write_command(port, value); return;
    case ahci::sata_control: {
        const bool resets = (port.control & 15) == ahci::link_reset && (value & 15) == 0;
        port.control = value;
        if (!resets || port.drive() == nullptr) return;
        port.current = -1;
        port.issued = 0;
        port.drive()->reset();
        return;
    }
    case ahci::sata_error: port.error &= ~value; break;
    case ahci::issued:
        if ((port.command & ahci::command_start) != 0) port.issued |= value;
        serve(port);
        return;
    default: return;
    }
    update_interrupt();
}

std::uint64_t Ahci::bar_read(std::uint32_t bar, std::uint64_t offset, std::uint32_t size) {
    if (bar != ahci::bar || size > 4) return ~0ULL;
    const std::uint64_t aligned = offset & ~3ULL;
    std::uint32_t value = 0;
    if (aligned >= ahci::first_port) {
        const std::uint64_t index = (aligned - ahci::first_port) / ahci::port_bytes;
        if (index < ports_.size())
            value =
                read_port(ports_[index], static_cast<std::uint32_t>(aligned % ahci::port_bytes));
    } else if (aligned == ahci::capabilities) {
        value = capabilities_value;
    } else if (aligned == ahci::control) {
        value = control_;
    } else if (aligned == ahci::interrupts) {
        for (std::size_t i = 0; i < ports_.size(); ++i)
            if ((ports_[i].interrupts & ports_[i].enable) != 0) value |= 1U << i;
    } else if (aligned == ahci::implemented) {
        value = (1U << ahci::ports) - 1;
    } else if (aligned == ahci::version) {
        value = version_value;
    }
    return value >> (8 * (offset & 3));
}

void Ahci::bar_write(std::uint32_t bar, std::uint64_t offset, std::uint32_t size,
                     std::uint64_t value) {
    if (bar != ahci::bar || size != 4 || offset % 4 != 0) return;
    const auto word = static_cast<std::uint32_t>(value);
    if (offset >= ahci::first_port) {
        const std::uint64_t index = (offset - ahci::first_port) / ahci::port_bytes;
        if (index < ports_.size())
            write_port(ports_[index], static_cast<std::uint32_t>(offset % ahci::port_bytes), word);
    } else if (offset == ahci::control) {
        if ((word & ahci::control_reset) != 0) {
            reset();
            return;
        }
        control_ = ahci::control_ahci | (word & ahci::control_interrupts);
        update_interrupt();
    }
}

const DeviceRegistration registration({
    .name = "ich9-ahci",
    .bus = "PCI",
    .properties = pci_properties(),
    .make = [](Machine& machine, const DeviceSpec& spec) -> std::unique_ptr<Device> {
        const PciIds ids{0x8086, 0x2922, 0x1af4, 0x1100, 2, 0x010601, true};
        return std::make_unique<Ahci>(machine, spec, ids);
    },
    .source = "Serial ATA AHCI 1.3.1",
});

}  // namespace
}  // namespace hwmodels
