// SPDX-License-Identifier: Apache-2.0
#include "hwmodels/guest/ahci.hpp"

#include <algorithm>
#include <any>
#include <array>
#include <cstring>
#include <map>
#include <utility>

#include "blocklayer/layer.hpp"
#include "hwmodels/ata/ahci.hpp"
#include "hwmodels/ata/drive.hpp"
#include "hwmodels/guest/bounce.hpp"
#include "hwmodels/guest/open_disk.hpp"
#include "sim/check.hpp"

namespace hwmodels::guest {

using blocklayer::Result;
using sim::Errno;
using sim::IoStatus;
using sim::Unexpected;

namespace {

constexpr std::uint64_t area_bytes = 4096, received_at = 1024, table_at = 2048;
constexpr sim::Duration poll = sim::microseconds(10);

using Ports = std::map<std::pair<int, std::uint32_t>, std::weak_ptr<AhciPort>>;

}  // namespace

std::shared_ptr<AhciPort> AhciPort::of(Machine& machine, const Device& drive) {
    const auto& buses = drive.bus()->owner()->buses();
    std::uint32_t port = 0;
    while (buses[port].get() != drive.bus()) ++port;
    PciFunction& function = *pci_function_of(drive);
    std::any& place = machine.layer().extensions["guest ahci ports"];
    if (!place.has_value()) place = Ports();
    std::weak_ptr<AhciPort>& known = std::any_cast<Ports&>(place)[{function.devfn, port}];
    std::shared_ptr<AhciPort> driver = known.lock();
    if (driver != nullptr && !driver->gone_) return driver;
    driver = std::make_shared<AhciPort>(machine, function, port);
    known = driver;
    return driver;
}

AhciPort::AhciPort(Machine& machine, PciFunction& function, std::uint32_t port)
    : machine_(machine), area_(heap_of(machine).take(area_bytes)) {
    EXPECTS(area_ != 0);
    machine.pci().assign_addresses();
    const std::uint64_t adapter = function.bar_address(ahci::bar);
    registers_ = adapter + ahci::first_port + std::uint64_t{port} * ahci::port_bytes;
    line_ = function.intx_line();
    machine.pci().memory_write(adapter + ahci::control, 4,
                               ahci::control_ahci | ahci::control_interrupts);
    handler_ = machine.interrupts().add_line_handler(line_, [this] {
        const std::uint32_t causes = read(ahci::port_interrupts);
        if (causes == 0) return;
        write(ahci::port_interrupts, causes);
        causes_ |= causes;
        interrupt_.wake_all();
    });
    write(ahci::list_base, static_cast<std::uint32_t>(area_));
    write(ahci::fis_base, static_cast<std::uint32_t>(area_ + received_at));
    write(ahci::port_enable, ahci::interrupt_register | ahci::interrupt_error);
    restart();
}

AhciPort::~AhciPort() {
    machine_.interrupts().remove_line_handler(line_, handler_);
    if (!gone_) write(ahci::port_command, 0);  // or the place may be another's by now
    heap_of(machine_).give_back(area_);
}

void AhciPort::write(std::uint32_t reg, std::uint32_t value) {
    machine_.pci().memory_write(registers_ + reg, 4, value);
}

std::uint32_t AhciPort::read(std::uint32_t reg) const {
    return static_cast<std::uint32_t>(machine_.pci().memory_read(registers_ + reg, 4));
}

void AhciPort::restart() {
    write(ahci::port_command, 0);
    write(ahci::port_command, ahci::command_start | ahci::command_receive);
}

IoStatus AhciPort::wait_ready(sim::Co& co) {
    while (true) {
        const std::uint32_t task = read(ahci::task_file);
        // Nobody is there any more.
        if (gone_ || task == UINT32_MAX) return Unexpected(Errno::no_medium);
        if ((task & ata::status_busy) == 0) return {};
        machine_.wait_running(co);
        co.sleep(poll);
    }
}

IoStatus AhciPort::issue(sim::Co& co, AtaCommand& command, const Shape& shape) {
    const sim::MutexLock lock(co, one_at_a_time_);
    do {
        machine_.wait_running(co);
        TRY(wait_ready(co));
        while (resetting_) co.sleep(poll);
    } while (!machine_.running());
    std::byte* bytes = machine_.memory().span(area_, area_bytes);
    std::memset(bytes, 0, ahci::header_bytes);
    std::byte* table = bytes + table_at;
    std::memset(table, 0, ahci::table_regions + ahci::region_bytes);
    std::uint32_t flags = 5 | (command.length > 0 ? 1U << 16 : 0) | (shape.write ? 0x40 : 0);
    if (shape.packet != nullptr) {
        flags |= ahci::header_packet;
        std::memcpy(table + ahci::table_packet, shape.packet->cdb.data(), 12);
    }
    store(bytes, flags);
    store(bytes + 8, area_ + table_at);
    const auto put = [&](std::size_t at, std::uint64_t value) {
        table[at] = static_cast<std::byte>(value);
    };
    put(0, ahci::fis_to_device);
    put(1, ahci::fis_is_command);
    put(2, command.command);
    put(3, command.features);
    for (unsigned i = 0; i < 3; ++i) {
        put(4 + i, command.lba >> (8 * i));
        put(8 + i, command.wide ? command.lba >> (24 + 8 * i) : 0);
    }
    put(7, ata::device_lba | (command.wide ? 0 : command.lba >> 24 & 15));
    put(12, command.count);
    put(13, command.count >> 8);
    if (command.length > 0) {
        store(table + ahci::table_regions, command.data);
        store(table + ahci::table_regions + 12, command.length - 1);
    }
    causes_ = 0;
    const std::uint64_t resets = resets_;
    write(ahci::issued, 1);
    // An interrupt may be of what was before: the slot says whether it is done.
    while (resetting_ ||
           ((causes_ & ahci::interrupt_error) == 0 && (read(ahci::issued) & 1) != 0)) {
        if (gone_) return Unexpected(Errno::no_medium);
        interrupt_.wait(co);
        if (resets != resets_) return Unexpected(Errno::canceled);
    }
    if (gone_) return Unexpected(Errno::no_medium);
    if ((causes_ & ahci::interrupt_error) == 0) return {};
    command.error = static_cast<std::uint8_t>(read(ahci::task_file) >> 8);
    restart();
    return Unexpected(Errno::io);
}

IoStatus AhciPort::run(sim::Co& co, std::uint32_t, AtaCommand& command) {
    return issue(co, command, {.write = command.length > 0 && !command.to_memory});
}

IoStatus AhciPort::identify(sim::Co& co, std::uint32_t, std::uint8_t op,
                            std::span<std::byte> words) {
    const Bounce data(machine_, words.size());
    if (data.bytes() == nullptr) return Unexpected(Errno::no_memory);
    AtaCommand command{.command = op,
                       .data = data.address(),
                       .length = static_cast<std::uint32_t>(words.size()),
                       .to_memory = true};
    TRY(issue(co, command, {}));
    std::memcpy(words.data(), data.bytes(), words.size());
    return {};
}

IoStatus AhciPort::packet(sim::Co& co, std::uint32_t, ScsiCommand& command) {
    const bool in = command.direction == DataDirection::from_device && command.length > 0;
    AtaCommand ata{.command = ata::packet,
                   .features = static_cast<std::uint8_t>(in ? 1 : 0),
                   .data = command.data,
                   .length = command.length,
                   .to_memory = in};
    const IoStatus done = issue(co, ata, {.write = !in, .packet = &command});
    if (!done && done.error() != Errno::io) return done;
    command.residual = 0;
    command.status = done ? scsi::good : scsi::check_condition;
    return {};
}

IoStatus AhciPort::reset(sim::Co& co) {
    // Who waits for a command hears of the reset when it is over: until then the drive may still
    // use the command's memory.
    resetting_ = true;
    write(ahci::sata_control, ahci::link_reset);
    co.sleep(poll);
    write(ahci::sata_control, 0);
    const IoStatus ready = wait_ready(co);
    write(ahci::port_interrupts, UINT32_MAX);
    resetting_ = false;
    ++resets_;
    interrupt_.wake_all();
    return ready;
}

namespace {

const DiskDriverRegistration registration({.model = "ich9-ahci",
                                           .drives = Drives::disks_on_its_bus,
                                           .open = [](sim::Co& co, Machine& machine, Device& device)
                                               -> Result<std::unique_ptr<GuestDisk>> {
                                               return open_drive(co, AhciPort::of(machine, device),
                                                                 0);
                                           }});

}  // namespace

}  // namespace hwmodels::guest
