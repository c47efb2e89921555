// SPDX-License-Identifier: Apache-2.0
// ide-hd: a hard disk with the ATA command set.
//
// units   sectors of 512 bytes in the task file, bytes inside
// source  ATA/ATAPI-7, ACS-2; IDENTIFY data as the reference's device gives it.
#include <fmt/format.h>
#include <algorithm>

#include "blocklayer/graph/backend.hpp"
#include "hwmodels/ata/drive.hpp"
#include "hwmodels/ata/identify.hpp"
#include "hwmodels/host_bus/guest_memory.hpp"
#include "hwmodels/machine.hpp"
#include "sim/check.hpp"

namespace hwmodels {
namespace {

using namespace ata;
using blocklayer::failure;
using blocklayer::RequestFlag;
using blocklayer::Status;
using sim::Errno;
using sim::IoStatus;

constexpr std::uint64_t heads_max = 16;
constexpr std::uint64_t dma_sectors_max = 256;  // moved at once
constexpr std::uint8_t multiple_max = 16;
constexpr std::uint64_t trim_entry_bytes = 8;

class AtaHd final : public AtaDrive {
public:
    using AtaDrive::AtaDrive;

    Status set_drive(std::string_view name) override {
        return drive_.attach(name, spec().name, host().thread(), {});
    }
    Status change_drive(sim::Co&, std::string_view name) override { return drive_.change(name); }
    blocklayer::BlockBackend* backend() const override { return drive_.backend(); }
    std::uint32_t signature() const override { return 0x0000'0101; }

protected:
    Status realize_drive(sim::Co& co) override {
        if (drive_.backend() == nullptr || !drive_.backend()->has_medium())
            return failure("Device needs media, but drive is empty");
        if (properties().text("model").empty()) properties().set("model", "QEMU HARDDISK");
        if (properties().text("serial").empty())
            properties().set("serial", fmt::format("QM{:05}", machine().next_bus_number("ata")));
        TRY(drive_.check_sizes());
        TRY(drive_.find_geometry(co, heads_max));
        return drive_.take_permissions(ReadOnlyMedium::no, Resizable::yes);
    }
    void unrealize_drive(sim::Co&) override { drive_.drop(); }
    void run(sim::Co& co, std::uint8_t command) override;
    void drive_reset() override {
        lba_ = 0;
        remaining_ = 1;
        moved_ = 0;
    }

private:
    std::uint64_t sectors() const { return drive_.backend()->length() / sector_bytes; }
    bool take_range(bool wide);
    void transfer_by_register(sim::Co& co, bool is_write, std::uint64_t block);
    void transfer_by_dma(sim::Co& co, bool is_write, bool fua);
    bool medium_io(sim::Co& co, bool is_write, sim::IoView data, bool fua);
    void trim(sim::Co& co);
    void flush_cache(sim::Co& co);
    void native_max(bool wide);
    void set_feature();
    bool run_data(sim::Co& co, std::uint8_t command);

    std::uint8_t multiple_ = multiple_max;
    // The transfer under way, as registers of the drive: where it is, what is left, what the last
    // step moved.
    std::uint64_t lba_ = 0, remaining_ = 1, moved_ = 0;
};

// ---- the medium --------------------------------------------------------------------------------

// Address and number of the command, from the task file. False: they do not fit the disk.
bool AtaHd::take_range(bool wide) {
    const auto word = [](std::uint8_t low, std::uint8_t mid, std::uint8_t high) {
        return std::uint64_t{low} | std::uint64_t{mid} << 8 | std::uint64_t{high} << 16;
    };
    const std::uint64_t low = word(now_.lba[0], now_.lba[1], now_.lba[2]);
    remaining_ = now_.count == 0 ? 256 : now_.count;
    if (wide) {
        remaining_ = now_.count | std::uint64_t{before_.count} << 8;
        if (remaining_ == 0) remaining_ = 65536;
        lba_ = low | word(before_.lba[0], before_.lba[1], before_.lba[2]) << 24;
    } else if ((now_.device & device_lba) != 0) {
        lba_ = low | std::uint64_t{now_.device & 15U} << 24;
    } else {
        if (now_.lba[0] == 0) return false;
        const std::uint64_t cylinder = now_.lba[1] | std::uint64_t{now_.lba[2]} << 8;
        lba_ = (cylinder * properties().number("heads") + (now_.device & 15U)) *
                   properties().number("secs") +
               now_.lba[0] - 1U;
    }
    return lba_ <= sectors() && remaining_ <= sectors() - lba_;
}

// True: done, or its failure is ignored. Otherwise the command has failed or was cancelled.
bool AtaHd::medium_io(sim::Co& co, bool is_write, sim::IoView data, bool fua) {
    while (true) {
        blocklayer::RequestFlags flags;
        if (fua) flags = RequestFlag::fua;
        const IoStatus done = is_write
                                  ? drive_.backend()->write(co, lba_ * sector_bytes, data, flags)
                                  : drive_.backend()->read(co, lba_ * sector_bytes, data);
        if (!alive()) return false;
        if (done) return true;
        bool ignored = false;
        if (retry_after(co, !is_write, done.error(), ignored)) continue;
        if (!ignored) fail(error_aborted);
        return ignored && alive();
    }
}

void AtaHd::transfer_by_register(sim::Co& co, bool is_write, std::uint64_t block) {
    std::vector<std::byte> buffer(block * sector_bytes);
    while (remaining_ > 0) {
        const std::uint64_t n = std::min(remaining_, block);
        const std::span<std::byte> part(buffer.data(), n * sector_bytes);
        if (is_write && !move(co, part, false)) return;
        if (!medium_io(co, is_write, part, false)) return;
        if (!is_write && !move(co, part, true)) return;
        lba_ += n;
        remaining_ -= n;
    }
    // What was read is there when its last byte is: no further interrupt.
    if (is_write)
        succeed();
    else if (alive())
        status_ = status_ready | status_seek;
}

// One step at a time, each with the memory the guest's list has for it.
void AtaHd::transfer_by_dma(sim::Co& co, bool is_write, bool fua) {
    std::vector<sim::IoVec> list;
    while (remaining_ > 0) {
        const std::uint64_t n = std::min(remaining_, dma_sectors_max);
        if (!alive() || !host().map(co, *this, n * sector_bytes, list)) return;
        const sim::IoView memory{std::span<const sim::IoVec>(list)};
        const std::uint64_t whole = memory.size() / sector_bytes;
        if (whole == 0) {  // the guest's list ends before its command does
            fail(error_aborted);
            return;
        }
        moved_ = std::min(n, whole);
        if (!medium_io(co, is_write, memory.sub(0, moved_ * sector_bytes), fua)) return;
        host().moved(*this, moved_ * sector_bytes);
        lba_ += moved_;
        remaining_ -= std::min(remaining_, moved_);
    }
    succeed();
}

void AtaHd::trim(sim::Co& co) {
    if ((now_.features & 1) == 0) {
        fail();
        return;
    }
    const std::uint64_t blocks = now_.count | std::uint64_t{before_.count} << 8;
    std::vector<sim::IoVec> list;
    std::vector<std::byte> entries;
    while (entries.size() < blocks * sector_bytes) {
        if (!host().map(co, *this, blocks * sector_bytes - entries.size(), list)) return;
        const sim::IoView memory{std::span<const sim::IoVec>(list)};
        if (memory.empty()) {
            fail();
            return;
        }
        const std::size_t at = entries.size();
        entries.resize(at + memory.size());
        memory.copy_to(entries.data() + at);
        host().moved(*this, memory.size());
    }
    for (std::size_t at = 0; at + trim_entry_bytes <= entries.size(); at += trim_entry_bytes) {
        const auto entry = load<std::uint64_t>(&entries[at]);
        const std::uint64_t lba = entry & 0xffff'ffff'ffffULL, count = entry >> 48;
        if (count == 0) continue;
        if (lba > sectors() || count > sectors() - lba) {
            fail();
            return;
        }
        const IoStatus done =
            drive_.backend()->discard(co, lba * sector_bytes, count * sector_bytes);
        if (!alive()) return;
        if (!done) {
            fail();
            return;
        }
    }
    succeed();
}

void AtaHd::flush_cache(sim::Co& co) {
    while (alive()) {
        const IoStatus done = drive_.backend()->flush(co);
        bool ignored = false;
        if (!done && retry_after(co, false, done.error(), ignored)) continue;
        if (done || ignored)
            succeed();
        else
            fail();
        return;
    }
}

// ---- the rest ----------------------------------------------------------------------------------

void AtaHd::native_max(bool wide) {
    const std::uint64_t last = sectors() - 1;
    for (unsigned i = 0; i < 3; ++i) now_.lba[i] = static_cast<std::uint8_t>(last >> (8 * i));
    if (wide)
        for (unsigned i = 0; i < 3; ++i)
            before_.lba[i] = static_cast<std::uint8_t>(last >> (24 + 8 * i));
    else
        now_.device = static_cast<std::uint8_t>((now_.device & 0xf0) | (last >> 24 & 15));
    succeed();
}

void AtaHd::set_feature() {
    switch (now_.features) {
    case 0x02: drive_.backend()->write_cache = true; break;   // write cache on
    case 0x82: drive_.backend()->write_cache = false; break;  // and off
    case 0x03:                                                // transfer mode
    case 0x05:
    case 0x85:  // power management
    case 0x42:
    case 0xc2:  // acoustics
    case 0x66:
    case 0xcc:  // settings kept over resets
    case 0x55:
    case 0xaa: break;  // read ahead
    default: fail(); return;
    }
    succeed();
}

bool AtaHd::run_data(sim::Co& co, std::uint8_t command) {
    const bool wide = command == read_sectors_ext || command == read_dma_ext ||
                      command == read_multiple_ext || command == write_sectors_ext ||
                      command == write_dma_ext || command == write_multiple_ext ||
                      command == write_dma_fua_ext || command == verify_ext;
    enum class Way { by_register, by_dma, none } way = Way::by_register;
    bool is_write = false;
    std::uint64_t block = 1;
    switch (command) {
    case read_multiple:
    case read_multiple_ext: block = multiple_; [[fallthrough]];
    case read_sectors:
    case read_sectors_ext: break;
    case write_multiple:
    case write_multiple_ext: block = multiple_; [[fallthrough]];
    case write_sectors:
    case write_sectors_ext: is_write = true; break;
    case read_dma:
    case read_dma_ext: way = Way::by_dma; break;
    case write_dma:
    case write_dma_ext:
    case write_dma_fua_ext:
        way = Way::by_dma;
        is_write = true;
        break;
    case verify:
    case verify_ext: way = Way::none; break;
    default: return false;
    }
    if (block == 0 || !take_range(wide)) {
        fail();
    } else if (way == Way::by_register) {
        transfer_by_register(co, is_write, block);
    } else if (way == Way::by_dma) {
        transfer_by_dma(co, is_write, command == write_dma_fua_ext);
    } else {
        succeed();
    }
    return true;
}

void AtaHd::run(sim::Co& co, std::uint8_t command) {
    if (run_data(co, command)) return;
    switch (command) {
    case identify: {
        auto words = identify_disk({properties(), *drive_.backend(), multiple_});
        if (move(co, words, true) && alive()) status_ = status_ready | status_seek;
        return;
    }
    case flush:
    case flush_ext: flush_cache(co); return;
    case data_set_management: trim(co); return;
    case set_features: set_feature(); return;
    case read_native_max: native_max(false); return;
    case read_native_max_ext: native_max(true); return;
    case set_multiple:
        if (now_.count > multiple_max || (now_.count & (now_.count - 1)) != 0) {
            fail();
            return;
        }
        multiple_ = now_.count;
        succeed();
        return;
    case check_power:
        now_.count = 0xff;  // active
        succeed();
        return;
    case diagnose:
        now_.device = 0xa0;
        error_ = 1;
        succeed();
        return;
    case standby_now:
    case idle_now:
    case standby:
    case idle:
    case sleep: succeed(status_ready); return;
    case recalibrate:
    case seek:
    case initialize_parameters: succeed(); return;
    default: fail(); return;
    }
}

const DeviceRegistration registration({
    .name = "ide-hd",
    .bus = "IDE",
    .properties = ata_properties() + geometry_properties() +
                  std::vector<PropertySpec>{
                      {"bios-chs-trans", PropertyKind::string, "auto"},
                      {"rotation_rate", PropertyKind::uint16, 0},
                  },
    .make = [](Machine& machine, const DeviceSpec& spec) -> std::unique_ptr<Device> {
        return std::make_unique<AtaHd>(machine, spec);
    },
    .source = "ATA/ATAPI-7",
});

}  // namespace
}  // namespace hwmodels
