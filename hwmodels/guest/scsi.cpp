// SPDX-License-Identifier: Apache-2.0
#include "hwmodels/guest/scsi.hpp"

#include <algorithm>
#include <cstring>

#include "hwmodels/guest/bounce.hpp"
#include "sim/check.hpp"

namespace hwmodels::guest {

using blocklayer::failure;
using blocklayer::Result;
using blocklayer::Status;
using sim::Errno;
using sim::IoStatus;
using sim::Unexpected;

namespace {

constexpr std::uint64_t request_bytes_max = 1 << 20;
constexpr std::uint64_t zeroes_blocks_max = 1 << 16;
constexpr int attentions_max = 8;
constexpr sim::Duration busy_delay = sim::milliseconds(1);
constexpr std::uint8_t key_attention = 6;
constexpr std::uint32_t inquiry_bytes = 36, capacity_bytes = 32, mode_bytes = 4, limits_bytes = 64;
constexpr std::uint8_t sense_bytes = 18, page_limits = 0xb0, mode_all = 0x3f;

Errno errno_of(const scsi::Sense& sense) {
    switch (sense.key) {
    case 2: return sense.code == 0x3a ? Errno::no_medium : Errno::io;
    case 5: return sense == scsi::invalid_opcode ? Errno::not_supported : Errno::io;
    case 7: return sense == scsi::space_exhausted ? Errno::no_space : Errno::io;
    default: return Errno::io;
    }
}

ScsiCommand command_in(std::uint8_t op, std::uint8_t cdb_bytes, const Bounce& into,
                       std::uint32_t length) {
    ScsiCommand command;
    command.cdb[0] = std::byte{op};
    command.cdb_bytes = cdb_bytes;
    command.direction = DataDirection::from_device;
    command.data = into.address();
    command.length = length;
    return command;
}

std::string trimmed(const std::byte* at, std::size_t size) {
    std::string text(reinterpret_cast<const char*>(at), size);
    text.erase(text.find_last_not_of(' ') + 1);
    return text;
}

}  // namespace

IoStatus execute_with_sense(Machine& machine, ScsiCommand& command,
                            const std::function<IoStatus(ScsiCommand& command)>& execute) {
    TRY(execute(command));
    if (command.status != scsi::check_condition) return {};
    const Bounce data(machine, sense_bytes);
    if (data.bytes() == nullptr) return Unexpected(Errno::no_memory);
    ScsiCommand ask = command_in(scsi::request_sense, 6, data, sense_bytes);
    ask.cdb[4] = std::byte{sense_bytes};
    TRY(execute(ask));
    command.sense = {load<std::uint8_t>(data.bytes() + 2), load<std::uint8_t>(data.bytes() + 12),
                     load<std::uint8_t>(data.bytes() + 13)};
    return {};
}

Result<std::unique_ptr<GuestDisk>> ScsiGuestDisk::attach(sim::Co& co,
                                                         std::unique_ptr<ScsiPath> path) {
    std::unique_ptr<ScsiGuestDisk> disk(new ScsiGuestDisk(std::move(path)));
    Status found = disk->identify(co);
    if (!found) {
        disk->path_->shut_down(co);
        return Unexpected(std::move(found).error());
    }
    return std::unique_ptr<GuestDisk>(std::move(disk));
}

Status ScsiGuestDisk::identify(sim::Co& co) {
    const Bounce data(path_->machine(), inquiry_bytes);
    if (data.bytes() == nullptr) return failure("the guest is out of memory");
    ScsiCommand inquiry = command_in(scsi::inquiry, 6, data, inquiry_bytes);
    inquiry.set(3, 2, inquiry_bytes);
    if (!run(co, inquiry)) return failure("the unit does not identify itself");
    type_ = std::to_integer<std::uint8_t>(data.bytes()[0]) & 0x1f;
    if ((std::to_integer<unsigned>(data.bytes()[0]) >> 5) != 0) return failure("no such unit");
    product_ = trimmed(data.bytes() + 16, 16);
    const IoStatus ready = revalidate(co);
    // A drive without a medium is one all the same.
    if (!ready && !(ready.error() == Errno::no_medium && !gone_))
        return failure("the unit does not become ready");
    return {};
}

IoStatus ScsiGuestDisk::revalidate(sim::Co& co) {
    stale_ = true;
    return refresh(co);
}

// One at a time: an answer from before must not come last.
IoStatus ScsiGuestDisk::refresh(sim::Co& co) {
    if (!stale_) return {};
    const sim::MutexLock lock(co, refreshing_);
    if (!std::exchange(stale_, false)) return {};
    IoStatus known = read_capacity(co);
    if (known) return known;
    // It may have been cut short: then it is to be asked again.
    if (known.error() == Errno::no_medium)
        length_ = 0;
    else
        stale_ = true;
    return known;
}

IoStatus ScsiGuestDisk::read_capacity(sim::Co& co) {
    const Bounce data(path_->machine(), limits_bytes);
    if (data.bytes() == nullptr) return Unexpected(Errno::no_memory);
    ScsiCommand ready;
    ready.cdb[0] = std::byte{scsi::test_unit_ready};
    TRY(run(co, ready));
    ScsiCommand capacity = command_in(scsi::read_capacity_10, 10, data, 8);
    TRY(run(co, capacity));
    std::uint64_t last = scsi::get_be(data.bytes(), 4);
    block_size_ = static_cast<std::uint32_t>(scsi::get_be(data.bytes() + 4, 4));
    if (last == UINT32_MAX) {
        ScsiCommand wide = command_in(scsi::service_action_in_16, 16, data, capacity_bytes);
        wide.set(1, 1, scsi::read_capacity_16_action);
        wide.set(10, 4, capacity_bytes);
        TRY(run(co, wide));
        last = scsi::get_be(data.bytes(), 8);
    }
    if (block_size_ < 512 || block_size_ > (1 << 21)) return Unexpected(Errno::io);
    length_ = (last + 1) * block_size_;
    ScsiCommand mode = command_in(scsi::mode_sense_6, 6, data, mode_bytes);
    mode.set(2, 1, mode_all);
    mode.set(4, 1, mode_bytes);
    if (run(co, mode)) read_only_ = (data.bytes()[2] & std::byte{0x80}) != std::byte{0};
    if (is_cd()) {
        read_only_ = true;
        return {};
    }
    return read_limits(co);
}

IoStatus ScsiGuestDisk::read_limits(sim::Co& co) {
    const Bounce data(path_->machine(), limits_bytes);
    if (data.bytes() == nullptr) return Unexpected(Errno::no_memory);
    ScsiCommand limits = command_in(scsi::inquiry, 6, data, limits_bytes);
    limits.cdb[1] = std::byte{1};
    limits.cdb[2] = std::byte{page_limits};
    limits.set(3, 2, limits_bytes);
    const IoStatus told = run(co, limits);
    unmap_blocks_max_ = told ? scsi::get_be(data.bytes() + 20, 4) : 0;
    return {};
}

IoStatus ScsiGuestDisk::execute_raw(sim::Co& co, ScsiCommand& command) {
    if (gone_) return Unexpected(Errno::no_medium);
    ++in_flight_;
    const IoStatus done = path_->execute(co, command);
    if (--in_flight_ == 0) idle_.wake_all();
    return done;
}

IoStatus ScsiGuestDisk::run(sim::Co& co, ScsiCommand& command) {
    for (int attentions = 0; attentions < attentions_max; ++attentions) {
        TRY(execute_raw(co, command));
        if (command.status == scsi::good && !command.overrun) return {};
        if (command.overrun) return Unexpected(Errno::io);
        if (command.status == scsi::busy || command.status == scsi::task_set_full) {
            co.sleep(busy_delay);
            continue;
        }
        if (command.status == scsi::task_aborted) return Unexpected(Errno::canceled);
        if (command.status != scsi::check_condition) return Unexpected(Errno::io);
        last_sense_ = command.sense;
        if (command.sense.key != key_attention) return Unexpected(errno_of(command.sense));
        stale_ = true;
    }
    return Unexpected(Errno::io);
}

bool ScsiGuestDisk::fits_blocks(std::uint64_t offset, std::uint64_t length) const {
    return offset % block_size_ == 0 && length % block_size_ == 0;
}

IoStatus ScsiGuestDisk::move(sim::Co& co, std::uint64_t offset, std::byte* bytes,
                             std::uint64_t length, bool write) {
    if (closing_) return Unexpected(Errno::no_medium);
    TRY(refresh(co));
    if (!fits_blocks(offset, length)) return Unexpected(Errno::invalid);
    while (length > 0) {
        const std::uint64_t part = std::min(length, request_bytes_max / block_size_ * block_size_);
        const Bounce bounce(path_->machine(), part);
        if (bounce.bytes() == nullptr) return Unexpected(Errno::no_memory);
        const std::uint64_t lba = offset / block_size_, blocks = part / block_size_;
        const bool small = lba <= UINT32_MAX && blocks <= UINT16_MAX;
        const std::uint8_t op = write ? (small ? scsi::write_10 : scsi::write_16)
                                      : (small ? scsi::read_10 : scsi::read_16);
        ScsiCommand command =
            command_in(op, small ? 10 : 16, bounce, static_cast<std::uint32_t>(part));
        if (write) {
            command.direction = DataDirection::to_device;
            std::memcpy(bounce.bytes(), bytes, part);
        }
        command.set(2, small ? 4 : 8, lba);
        command.set(small ? 7 : 10, small ? 2 : 4, blocks);
        TRY(run(co, command));
        if (command.residual != 0) return Unexpected(Errno::io);
        if (!write) std::memcpy(bytes, bounce.bytes(), part);
        bytes += part;
        offset += part;
        length -= part;
    }
    return {};
}

IoStatus ScsiGuestDisk::read(sim::Co& co, std::uint64_t offset, std::span<std::byte> into) {
    return move(co, offset, into.data(), into.size(), false);
}

IoStatus ScsiGuestDisk::write(sim::Co& co, std::uint64_t offset, std::span<const std::byte> from) {
    // Only copied out of.
    return move(co, offset, const_cast<std::byte*>(from.data()), from.size(), true);
}

IoStatus ScsiGuestDisk::flush(sim::Co& co) {
    if (closing_) return Unexpected(Errno::no_medium);
    ScsiCommand command;
    command.cdb[0] = std::byte{scsi::synchronize_cache_10};
    command.cdb_bytes = 10;
    return run(co, command);
}

IoStatus ScsiGuestDisk::discard(sim::Co& co, std::uint64_t offset, std::uint64_t length) {
    constexpr std::uint32_t list_bytes = 24;
    if (closing_) return Unexpected(Errno::no_medium);
    if (!fits_blocks(offset, length)) return Unexpected(Errno::invalid);
    if (unmap_blocks_max_ == 0) return Unexpected(Errno::not_supported);
    while (length > 0) {
        const std::uint64_t blocks = std::min(length / block_size_, unmap_blocks_max_);
        const Bounce bounce(path_->machine(), list_bytes);
        if (bounce.bytes() == nullptr) return Unexpected(Errno::no_memory);
        std::memset(bounce.bytes(), 0, list_bytes);
        scsi::put_be(bounce.bytes(), 2, list_bytes - 2);
        scsi::put_be(bounce.bytes() + 2, 2, list_bytes - 8);
        scsi::put_be(bounce.bytes() + 8, 8, offset / block_size_);
        scsi::put_be(bounce.bytes() + 16, 4, blocks);
        ScsiCommand command = command_in(scsi::unmap, 10, bounce, list_bytes);
        command.direction = DataDirection::to_device;
        command.set(7, 2, list_bytes);
        TRY(run(co, command));
        offset += blocks * block_size_;
        length -= blocks * block_size_;
    }
    return {};
}

IoStatus ScsiGuestDisk::write_zeroes(sim::Co& co, std::uint64_t offset, std::uint64_t length,
                                     bool may_unmap) {
    if (closing_) return Unexpected(Errno::no_medium);
    if (!fits_blocks(offset, length)) return Unexpected(Errno::invalid);
    const Bounce block(path_->machine(), block_size_);
    if (block.bytes() == nullptr) return Unexpected(Errno::no_memory);
    std::memset(block.bytes(), 0, block_size_);
    while (length > 0) {
        const std::uint64_t blocks = std::min(length / block_size_, zeroes_blocks_max);
        ScsiCommand command = command_in(scsi::write_same_16, 16, block, block_size_);
        command.direction = DataDirection::to_device;
        if (may_unmap) command.cdb[1] = std::byte{8};
        command.set(2, 8, offset / block_size_);
        command.set(10, 4, blocks);
        TRY(run(co, command));
        offset += blocks * block_size_;
        length -= blocks * block_size_;
    }
    return {};
}

IoStatus ScsiGuestDisk::load_or_eject(sim::Co& co, bool load) {
    ScsiCommand command;
    command.cdb[0] = std::byte{scsi::start_stop};
    command.cdb[4] = load ? std::byte{3} : std::byte{2};
    return run(co, command);
}

IoStatus ScsiGuestDisk::lock_door(sim::Co& co, bool lock) {
    ScsiCommand command;
    command.cdb[0] = std::byte{scsi::prevent_allow};
    command.cdb[4] = lock ? std::byte{1} : std::byte{0};
    return run(co, command);
}

void ScsiGuestDisk::shut_down(sim::Co& co) {
    if (gone_) return;
    closing_ = true;
    while (in_flight_ > 0) idle_.wait(co);
    if (gone_) return;
    gone_ = true;
    path_->shut_down(co);
}

void ScsiGuestDisk::surprise_removed() {
    if (gone_) return;
    gone_ = true;
    path_->surprise_removed();
}

}  // namespace hwmodels::guest
