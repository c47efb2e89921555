// SPDX-License-Identifier: Apache-2.0
#include "hwmodels/guest/ide.hpp"

#include <algorithm>
#include <any>
#include <array>
#include <cstring>

#include "blocklayer/layer.hpp"
#include "hwmodels/ata/drive.hpp"
#include "hwmodels/ata/piix.hpp"
#include "hwmodels/guest/bounce.hpp"
#include "hwmodels/guest/open_disk.hpp"
#include "sim/check.hpp"

namespace hwmodels::guest {

using namespace ata;
using blocklayer::failure;
using blocklayer::Result;
using sim::Errno;
using sim::IoStatus;
using sim::Unexpected;

namespace {

constexpr std::uint64_t table_bytes = 4096;
constexpr std::uint64_t request_bytes_max = 1 << 17;
constexpr sim::Duration poll = sim::microseconds(10);
constexpr std::uint32_t portion_bytes = 0xf000;  // of a packet command's data, at once

using Channels = std::array<std::weak_ptr<IdeChannel>, 2>;

Channels& channels_of(Machine& machine) {
    std::any& place = machine.layer().extensions["guest ide channels"];
    if (!place.has_value()) place = Channels();
    return std::any_cast<Channels&>(place);
}

}  // namespace

std::shared_ptr<IdeChannel> IdeChannel::of(Machine& machine, std::uint32_t channel) {
    EXPECTS(channel < 2);
    auto driver = channels_of(machine)[channel].lock();
    if (driver != nullptr) return driver;
    driver.reset(new IdeChannel(machine, channel));
    channels_of(machine)[channel] = driver;
    return driver;
}

IdeChannel::IdeChannel(Machine& machine, std::uint32_t channel)
    : machine_(machine), channel_(channel), table_(heap_of(machine).take(table_bytes)) {
    EXPECTS(table_ != 0);
    machine.pci().assign_addresses();
    const PciFunction* function = machine.pci().at(pci_devfn(1, 1));
    bus_master_ = function->bar_address(piix::bus_master_bar) + piix::channel_bytes * channel;
    handler_ = machine.interrupts().add_line_handler(piix::lines[channel], [this] {
        status_ = in(status_command);  // which takes the interrupt back
        machine_.pci().io_write(bus_master_ + piix::bm_status, 1,
                                piix::bm_interrupt | piix::bm_error);
        interrupted_ = true;
        interrupt_.wake_all();
    });
}

IdeChannel::~IdeChannel() {
    machine_.interrupts().remove_line_handler(piix::lines[channel_], handler_);
    heap_of(machine_).give_back(table_);
}

void IdeChannel::out(unsigned reg, std::uint8_t value) {
    const std::uint32_t port = piix::command_ports[channel_] + reg;
    machine_.ports().at(port)->port_write(port, 1, value);
}

std::uint8_t IdeChannel::in(unsigned reg) {
    const std::uint32_t port = piix::command_ports[channel_] + reg;
    return static_cast<std::uint8_t>(machine_.ports().at(port)->port_read(port, 1));
}

void IdeChannel::select(std::uint32_t unit, std::uint8_t bits) {
    out(ata::device, static_cast<std::uint8_t>(0xa0 | bits | (unit != 0 ? device_second : 0)));
}

IoStatus IdeChannel::wait_interrupt(sim::Co& co) {
    const std::uint64_t resets = resets_;
    while (!interrupted_) {
        interrupt_.wait(co);
        if (resets != resets_) return Unexpected(Errno::canceled);
    }
    interrupted_ = false;
    return {};
}

IoStatus IdeChannel::begin(sim::Co& co, std::uint32_t unit, std::uint64_t removals) {
    machine_.wait_running(co);
    if (removals != removals_) return Unexpected(Errno::no_medium);
    const std::uint64_t resets = resets_;
    select(unit, 0);
    while (resetting_ || (in(status_command) & status_busy) != 0) {
        co.sleep(poll);
        machine_.wait_running(co);
        if (resets != resets_) return Unexpected(Errno::canceled);
    }
    interrupted_ = false;
    return {};
}

void IdeChannel::prepare_table(GuestAddress data, std::uint32_t length, bool to_memory) {
    std::byte* at = machine_.memory().span(table_, table_bytes);
    while (length > 0) {
        // An entry does not cross a boundary of 64 KiB.
        const auto part =
            static_cast<std::uint32_t>(std::min<std::uint64_t>(length, 0x10000 - (data & 0xffff)));
        length -= part;
        store(at, static_cast<std::uint32_t>(data));
        store(at + 4, (part & 0xffff) | (length == 0 ? piix::prd_last : 0));
        at += piix::prd_bytes;
        data += part;
    }
    auto& bus = machine_.pci();
    bus.io_write(bus_master_ + piix::bm_command, 1, to_memory ? piix::bm_to_memory : 0);
    bus.io_write(bus_master_ + piix::bm_table, 4, table_);
}

IoStatus IdeChannel::run(sim::Co& co, std::uint32_t unit, AtaCommand& command) {
    const std::uint64_t removals = removals_;
    const sim::MutexLock lock(co, one_at_a_time_);
    TRY(begin(co, unit, removals));
    if (command.length > 0) prepare_table(command.data, command.length, command.to_memory);
    const auto byte = [](std::uint64_t value, unsigned shift) {
        return static_cast<std::uint8_t>(value >> shift);
    };
    if (command.wide) {
        out(sector_count, byte(command.count, 8));
        for (unsigned i = 0; i < 3; ++i) out(lba_low + i, byte(command.lba, 24 + 8 * i));
    }
    out(error_features, command.features);
    out(sector_count, byte(command.count, 0));
    for (unsigned i = 0; i < 3; ++i) out(lba_low + i, byte(command.lba, 8 * i));
    const std::uint8_t high = command.wide ? 0 : byte(command.lba, 24) & 15;
    select(unit, static_cast<std::uint8_t>(device_lba | high));
    out(status_command, command.command);
    const std::uint8_t start =
        static_cast<std::uint8_t>(piix::bm_start | (command.to_memory ? piix::bm_to_memory : 0));
    if (command.length > 0) machine_.pci().io_write(bus_master_ + piix::bm_command, 1, start);
    TRY(wait_interrupt(co));
    machine_.pci().io_write(bus_master_ + piix::bm_command, 1, 0);
    if ((status_ & status_error) == 0) return {};
    command.error = in(error_features);
    return Unexpected(Errno::io);
}

IoStatus IdeChannel::identify(sim::Co& co, std::uint32_t unit, std::uint8_t command,
                              std::span<std::byte> words) {
    const std::uint64_t removals = removals_;
    const sim::MutexLock lock(co, one_at_a_time_);
    TRY(begin(co, unit, removals));
    out(status_command, command);
    TRY(wait_interrupt(co));
    if ((status_ & status_data_request) == 0) return Unexpected(Errno::io);
    const std::uint32_t port = piix::command_ports[channel_];
    for (std::size_t at = 0; at + 1 < words.size(); at += 2)
        store(&words[at],
              static_cast<std::uint16_t>(machine_.ports().at(port)->port_read(port, 2)));
    return {};
}

IoStatus IdeChannel::packet(sim::Co& co, std::uint32_t unit, ScsiCommand& command) {
    const std::uint64_t removals = removals_;
    const sim::MutexLock lock(co, one_at_a_time_);
    TRY(begin(co, unit, removals));
    const bool by_dma = command.direction == DataDirection::from_device && command.length > 0;
    if (by_dma) prepare_table(command.data, command.length, true);
    out(error_features, by_dma ? 1 : 0);
    out(lba_mid, portion_bytes & 0xff);
    out(lba_high, portion_bytes >> 8);
    out(status_command, ata::packet);
    TRY(wait_interrupt(co));
    const std::uint32_t port = piix::command_ports[channel_];
    for (std::size_t at = 0; at < 12; at += 2)
        machine_.ports().at(port)->port_write(port, 2, load<std::uint16_t>(&command.cdb[at]));
    if (by_dma)
        machine_.pci().io_write(bus_master_ + piix::bm_command, 1,
                                piix::bm_start | piix::bm_to_memory);
    return packet_phases(co, command);
}

// The drive says with each interrupt what is next: data, or the end.
IoStatus IdeChannel::packet_phases(sim::Co& co, ScsiCommand& command) {
    const std::uint32_t port = piix::command_ports[channel_];
    std::byte* memory = machine_.memory().span(command.data, command.length);
    std::uint32_t done = 0;
    while (true) {
        TRY(wait_interrupt(co));
        if ((status_ & status_data_request) == 0) break;
        const std::uint32_t size = in(lba_mid) | std::uint32_t{in(lba_high)} << 8;
        const bool to_host = (in(sector_count)&2) != 0;
        for (std::uint32_t at = 0; at < size; at += 2, done += 2) {
            const bool fits = done + 2 <= command.length;
            if (to_host) {
                const auto word =
                    static_cast<std::uint16_t>(machine_.ports().at(port)->port_read(port, 2));
                if (fits) store(memory + done, word);
            } else {
                machine_.ports().at(port)->port_write(
                    port, 2, fits ? load<std::uint16_t>(memory + done) : std::uint16_t{0});
            }
        }
    }
    machine_.pci().io_write(bus_master_ + piix::bm_command, 1, 0);
    command.status = scsi::good;
    command.residual = 0;
    if ((status_ & status_error) != 0) command.status = scsi::check_condition;
    return {};
}

IoStatus IdeChannel::reset(sim::Co& co) {
    // Who waits for a command hears of the reset when it is over: until then the drive may still
    // use the command's memory.
    resetting_ = true;
    const std::uint32_t port = piix::control_ports[channel_];
    machine_.ports().at(port)->port_write(port, 1, control_reset);
    co.sleep(poll);
    machine_.ports().at(port)->port_write(port, 1, 0);
    select(0, 0);
    while ((in(status_command) & status_busy) != 0) {
        machine_.wait_running(co);
        co.sleep(poll);
    }
    resetting_ = false;
    ++resets_;
    interrupt_.wake_all();
    return {};
}

void IdeChannel::adapter_removed() {
    ++removals_;
    ++resets_;
    interrupt_.wake_all();
}

// ---- disks -------------------------------------------------------------------------------------

namespace {

// A packet device: SCSI command blocks through the channel.
class AtapiPath final : public ScsiPath {
public:
    AtapiPath(std::shared_ptr<AtaChannel> channel, std::uint32_t unit)
        : channel_(std::move(channel)), unit_(unit) {}

    Machine& machine() const override { return channel_->machine(); }
    IoStatus execute(sim::Co& co, ScsiCommand& command) override {
        return execute_with_sense(machine(), command, [&](ScsiCommand& one) {
            return channel_->packet(co, unit_, one);
        });
    }
    IoStatus reset(sim::Co&, ScsiReset) override { return Unexpected(Errno::not_supported); }
    void shut_down(sim::Co&) override {}
    void surprise_removed() override { channel_->adapter_removed(); }

private:
    std::shared_ptr<AtaChannel> channel_;
    std::uint32_t unit_;
};

class IdeDisk final : public GuestDisk {
public:
    IdeDisk(std::shared_ptr<AtaChannel> channel, std::uint32_t unit, std::uint64_t length)
        : channel_(std::move(channel)), unit_(unit), length_(length) {}

    std::uint64_t length() const override { return length_; }
    std::uint32_t block_size() const override { return sector_bytes; }
    bool read_only() const override { return false; }
    IoStatus read(sim::Co& co, std::uint64_t offset, std::span<std::byte> into) override {
        return move(co, offset, into.data(), into.size(), false);
    }
    IoStatus write(sim::Co& co, std::uint64_t offset, std::span<const std::byte> from) override {
        // Only copied out of.
        return move(co, offset, const_cast<std::byte*>(from.data()), from.size(), true);
    }
    IoStatus flush(sim::Co& co) override {
        AtaCommand command{.command = ata::flush};
        return command_of(co, command);
    }
    IoStatus discard(sim::Co& co, std::uint64_t offset, std::uint64_t length) override {
        const Bounce list(channel_->machine(), sector_bytes);
        if (list.bytes() == nullptr) return Unexpected(Errno::no_memory);
        if ((offset | length) % sector_bytes != 0) return Unexpected(Errno::invalid);
        while (length > 0) {
            const std::uint64_t part = std::min<std::uint64_t>(length, 0xffff * sector_bytes);
            std::memset(list.bytes(), 0, sector_bytes);
            store(list.bytes(), offset / sector_bytes | part / sector_bytes << 48);
            AtaCommand command{.command = data_set_management,
                               .features = 1,
                               .count = 1,
                               .wide = true,
                               .data = list.address(),
                               .length = sector_bytes};
            TRY(command_of(co, command));
            offset += part;
            length -= part;
        }
        return {};
    }
    // There is no such command: zeros are written.
    IoStatus write_zeroes(sim::Co& co, std::uint64_t offset, std::uint64_t length, bool) override {
        std::vector<std::byte> zeros(std::min(length, request_bytes_max));
        while (length > 0) {
            const std::uint64_t part = std::min<std::uint64_t>(length, zeros.size());
            TRY(move(co, offset, zeros.data(), part, true));
            offset += part;
            length -= part;
        }
        return {};
    }
    void shut_down(sim::Co& co) override {
        closing_ = true;
        while (in_flight_ > 0) idle_.wait(co);
    }
    void surprise_removed() override {
        closing_ = true;
        channel_->adapter_removed();
    }

private:
    IoStatus command_of(sim::Co& co, AtaCommand& command) {
        if (closing_) return Unexpected(Errno::no_medium);
        ++in_flight_;
        const IoStatus done = channel_->run(co, unit_, command);
        if (--in_flight_ == 0) idle_.wake_all();
        return done;
    }
    IoStatus move(sim::Co& co, std::uint64_t offset, std::byte* bytes, std::uint64_t length,
                  bool write) {
        if ((offset | length) % sector_bytes != 0) return Unexpected(Errno::invalid);
        while (length > 0) {
            const std::uint64_t part = std::min(length, request_bytes_max);
            const Bounce bounce(channel_->machine(), part);
            if (bounce.bytes() == nullptr) return Unexpected(Errno::no_memory);
            if (write) std::memcpy(bounce.bytes(), bytes, part);
            const std::uint64_t lba = offset / sector_bytes, count = part / sector_bytes;
            const bool wide = lba + count > (1 << 28) || count > 256;
            AtaCommand command{
                .command =
                    write ? (wide ? write_dma_ext : write_dma) : (wide ? read_dma_ext : read_dma),
                .lba = lba,
                .count = static_cast<std::uint32_t>(count == 256 && !wide ? 0 : count),
                .wide = wide,
                .data = bounce.address(),
                .length = static_cast<std::uint32_t>(part),
                .to_memory = !write};
            TRY(command_of(co, command));
            if (!write) std::memcpy(bytes, bounce.bytes(), part);
            bytes += part;
            offset += part;
            length -= part;
        }
        return {};
    }

    std::shared_ptr<AtaChannel> channel_;
    std::uint32_t unit_;
    std::uint64_t length_;
    bool closing_ = false;
    std::uint64_t in_flight_ = 0;
    sim::WaitQueue idle_{"guest ide disk's requests"};
};

Result<std::unique_ptr<GuestDisk>> open_ide(sim::Co& co, Machine& machine, Device& device) {
    const std::uint32_t unit = static_cast<const AtaDrive&>(device).unit;
    const bool second = device.bus()->name() == "ide.1";
    return open_drive(co, IdeChannel::of(machine, second ? 1 : 0), unit);
}

const DiskDriverRegistration registration({.model = "IDE",
                                           .drives = Drives::disks_on_such_a_bus,
                                           .open = open_ide});

}  // namespace

Result<std::unique_ptr<GuestDisk>> open_drive(sim::Co& co, std::shared_ptr<AtaChannel> channel,
                                              std::uint32_t unit) {
    std::array<std::byte, 512> words{};
    if (!channel->identify(co, unit, ata::identify, words)) {
        if (!channel->identify(co, unit, ata::identify_packet, words))
            return failure("the drive does not identify itself");
        return ScsiGuestDisk::attach(co, std::make_unique<AtapiPath>(channel, unit));
    }
    const std::uint64_t sectors = load<std::uint64_t>(&words[200]);
    return std::unique_ptr<GuestDisk>(
        std::make_unique<IdeDisk>(channel, unit, sectors * sector_bytes));
}

}  // namespace hwmodels::guest
