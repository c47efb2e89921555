// SPDX-License-Identifier: Apache-2.0
// ScsiDisk: life, and the commands that touch the medium.
#include "hwmodels/scsi/disk.hpp"

#include <algorithm>
#include <cstring>

#include "hwmodels/machine.hpp"
#include "sim/check.hpp"
#include "sim/mutant.hpp"

namespace hwmodels {

using blocklayer::Errno;
using blocklayer::ErrorAction;
using blocklayer::failure;
using blocklayer::IoStatus;
using blocklayer::RequestFlag;
using blocklayer::Status;
using scsi::Sense;

namespace {

constexpr std::uint64_t piece_bytes_max = 1 << 20;  // what is written at once of many same blocks
constexpr std::uint64_t granularity_default = 4096;
constexpr std::uint32_t unmap_descriptors_max = 255, unmap_descriptor_bytes = 16;

Sense sense_of(Errno error) {
    switch (error) {
    case Errno::no_medium: return scsi::no_medium;
    case Errno::no_memory: return scsi::target_failure;
    case Errno::invalid: return scsi::invalid_field;
    case Errno::no_space: return scsi::space_exhausted;
    default: return scsi::io_error;
    }
}

}  // namespace

std::vector<PropertySpec> scsi_disk_properties() {
    return block_properties() + error_properties() +
           std::vector<PropertySpec>{
               {"channel", PropertyKind::uint32, 0},
               {"scsi-id", PropertyKind::uint32, std::uint64_t{UINT32_MAX}},
               {"lun", PropertyKind::uint32, std::uint64_t{UINT32_MAX}},
               {"ver", PropertyKind::string, ""},
               {"serial", PropertyKind::string, ""},
               {"vendor", PropertyKind::string, ""},
               {"product", PropertyKind::string, ""},
               {"device_id", PropertyKind::string, ""},
               {"wwn", PropertyKind::uint64, 0},
               {"port_wwn", PropertyKind::uint64, 0},
               {"port_index", PropertyKind::uint16, 0},
               {"max_io_size", PropertyKind::uint64, std::uint64_t{INT32_MAX}},
               {"scsi_version", PropertyKind::int32, 5},
               {"quirk_mode_page_vendor_specific_apple", PropertyKind::boolean, false},
           };
}

// ---- life --------------------------------------------------------------------------------------

blocklayer::DeviceCallbacks ScsiDisk::callbacks() {
    return {.resized = [this] {
        if (!sim::mutant<"scsi: a resize is not told">())
            set_unit_attention(scsi::capacity_changed);
        scsi_bus().host().unit_attention(*this, scsi::capacity_changed);
    }};
}

Status ScsiDisk::set_drive(std::string_view name) {
    return drive_.attach(name, spec().name, scsi_bus().host().thread(), callbacks());
}

Status ScsiDisk::finish_realize(sim::Co& co, ReadOnlyMedium read_only, Resizable resizable) {
    if (find_property(spec(), "removable") != nullptr && properties().text("product").empty())
        properties().set("product", "QEMU HARDDISK");
    if (properties().text("product").empty()) properties().set("product", "QEMU CD-ROM");
    if (properties().text("vendor").empty()) properties().set("vendor", "QEMU");
    if (properties().text("ver").empty()) properties().set("ver", "2.5+");
    if (properties().number("discard_granularity") == UINT32_MAX)
        properties().set("discard_granularity",
                         std::max<std::uint64_t>(block_size_, granularity_default));
    TRY(drive_.check_sizes());
    if (!is_cd()) TRY(drive_.find_geometry(co));
    TRY(drive_.take_permissions(read_only, resizable));
    Status added = scsi_bus().host().unit_added(*this);
    if (!added) {
        drive_.drop();
        return added;
    }
    reset();
    return {};
}

void ScsiDisk::unrealize(sim::Co& co) {
    placed = false;  // the adapter finds it no more
    scsi_bus().host().unit_removed(*this);
    abort_requests(Abort::reset);
    wait_requests(co);
    drive_.drop();
}

// ---- commands ----------------------------------------------------------------------------------

std::uint64_t ScsiDisk::blocks() const { return drive_.backend()->length() / block_size_; }

bool ScsiDisk::read_only() const { return is_cd() || drive_.backend()->read_only(); }

Sense ScsiDisk::readiness() const {
    return drive_.backend()->has_medium() ? scsi::no_sense : scsi::no_medium;
}

template <class Io>
void ScsiDisk::perform(sim::Co& co, ScsiRequest& request, bool is_read, Io&& io) {
    while (request.abort == Abort::none) {
        const IoStatus done = io();
        if (done || request.abort != Abort::none) return;
        const ErrorAction action = drive_.backend()->on_error(is_read, done.error());
        if (action == ErrorAction::ignore) return;
        if (action == ErrorAction::report) {
            request.fail(sense_of(done.error()));
            return;
        }
        if (!wait_for_retry(co, request)) return;
    }
}

bool ScsiDisk::check_range(ScsiRequest& request, std::uint64_t lba, std::uint64_t count) const {
    if (lba <= blocks() && count <= blocks() - lba) return true;
    request.fail(scsi::lba_out_of_range);
    return false;
}

void ScsiDisk::read(sim::Co& co, ScsiRequest& request, std::uint64_t lba, std::uint64_t count) {
    // Protection information is not there to be checked.
    if (request.op() != scsi::read_6 && (request.field(1, 1) & 0xe0) != 0) {
        request.fail(scsi::invalid_field);
        return;
    }
    if (!check_range(request, lba, count)) return;
    const std::uint64_t bytes = count * block_size_;
    const std::uint64_t fits = std::min<std::uint64_t>(bytes, request.from_device.size());
    request.overrun = fits < bytes;
    const sim::IoView into = request.from_device.sub(0, fits);
    perform(co, request, true, [&] { return drive_.backend()->read(co, lba * block_size_, into); });
    if (request.status == scsi::good) request.transferred = fits;
}

void ScsiDisk::write(sim::Co& co, ScsiRequest& request, std::uint64_t lba, std::uint64_t count,
                     bool verify_too) {
    if (read_only()) {
        request.fail(scsi::write_protected);
        return;
    }
    if (request.op() != scsi::write_6 && (request.field(1, 1) & 0xe0) != 0) {
        request.fail(scsi::invalid_field);
        return;
    }
    if (!check_range(request, lba, count)) return;
    const std::uint64_t bytes = count * block_size_;
    const std::uint64_t given =
        std::min<std::uint64_t>(bytes, request.to_device.size()) / block_size_ * block_size_;
    request.overrun = given < bytes;
    blocklayer::RequestFlags flags;
    const bool fua = request.op() != scsi::write_6 && request.bit(1, 3);
    if (fua || verify_too) flags = RequestFlag::fua;
    const sim::IoView from = request.to_device.sub(0, given);
    perform(co, request, false,
            [&] { return drive_.backend()->write(co, lba * block_size_, from, flags); });
    if (request.status == scsi::good) request.transferred = given;
}

void ScsiDisk::synchronize(sim::Co& co, ScsiRequest& request) {
    perform(co, request, false, [&] { return drive_.backend()->flush(co); });
}

void ScsiDisk::unmap(sim::Co& co, ScsiRequest& request) {
    const std::uint64_t length = request.field(7, 2);
    if (request.bit(1, 0)) {
        request.fail(scsi::invalid_field);  // anchored units are not there
        return;
    }
    if (length == 0) return;
    std::vector<std::byte> list(std::min<std::uint64_t>(length, request.to_device.size()));
    request.to_device.sub(0, list.size()).copy_to(list.data());
    request.transferred = list.size();
    if (list.size() < 8) {
        request.fail(scsi::invalid_parameter_length);
        return;
    }
    const std::uint64_t bytes = scsi::get_be(list.data() + 2, 2);
    if (bytes + 8 > list.size() || scsi::get_be(list.data(), 2) + 2 > list.size() ||
        bytes % unmap_descriptor_bytes != 0) {
        request.fail(scsi::invalid_parameter_length);
        return;
    }
    const std::uint64_t count = bytes / unmap_descriptor_bytes;
    if (count > unmap_descriptors_max) {
        request.fail(scsi::invalid_parameter_list);
        return;
    }
    if (read_only()) {
        request.fail(scsi::write_protected);
        return;
    }
    for (std::uint64_t i = 0; i < count && request.status == scsi::good; ++i) {
        const std::byte* at = list.data() + 8 + i * unmap_descriptor_bytes;
        const std::uint64_t lba = scsi::get_be(at, 8), number = scsi::get_be(at + 8, 4);
        if (!check_range(request, lba, number)) return;
        if (number == 0) continue;
        perform(co, request, false, [&] {
            return drive_.backend()->discard(co, lba * block_size_, number * block_size_);
        });
        if (request.abort != Abort::none) return;
    }
}

void ScsiDisk::write_same(sim::Co& co, ScsiRequest& request, std::uint64_t lba,
                          std::uint64_t count) {
    // Without a data buffer the reference's disks do nothing, and say it is done.
    if (request.bit(1, 0)) return;
    const bool may_unmap = request.bit(1, 3);
    // Anchors and the obsolete ways to fill in addresses are not there; a number is needed.
    if (count == 0 || (request.field(1, 1) & 0x16) != 0) {
        request.fail(scsi::invalid_field);
        return;
    }
    if (read_only()) {
        request.fail(scsi::write_protected);
        return;
    }
    if (!check_range(request, lba, count)) return;
    if (request.to_device.size() < block_size_) {
        request.fail(scsi::invalid_parameter_length);
        return;
    }
    std::vector<std::byte> block(block_size_);
    request.to_device.sub(0, block_size_).copy_to(block.data());
    request.transferred = block_size_;
    const bool zero =
        std::all_of(block.begin(), block.end(), [](std::byte b) { return b == std::byte{0}; });
    if (zero) {
        blocklayer::RequestFlags flags;
        if (may_unmap) flags = RequestFlag::may_unmap;
        perform(co, request, false, [&] {
            return drive_.backend()->write_zeroes(co, lba * block_size_, count * block_size_,
                                                  flags);
        });
        return;
    }
    const std::uint64_t in_piece = std::min(count, piece_bytes_max / block_size_);
    std::vector<std::byte> piece(in_piece * block_size_);
    for (std::uint64_t i = 0; i < in_piece; ++i)
        std::memcpy(piece.data() + i * block_size_, block.data(), block_size_);
    while (count > 0 && request.status == scsi::good && request.abort == Abort::none) {
        const std::uint64_t part = std::min(count, in_piece);
        perform(co, request, false, [&] {
            return drive_.backend()->write(co, lba * block_size_,
                                           std::span(piece.data(), part * block_size_));
        });
        lba += part;
        count -= part;
    }
}

// Commands with a range on the medium: address and count lie where the group of the code says.
bool ScsiDisk::run_data_command(sim::Co& co, ScsiRequest& request) {
    std::uint64_t lba = 0, count = 0;
    switch (scsi::cdb_length(request.op())) {
    case 6:
        lba = request.field(1, 3) & 0x1fffff;
        count = request.field(4, 1) == 0 ? 256 : request.field(4, 1);
        break;
    case 10:
        lba = request.field(2, 4);
        count = request.field(7, 2);
        break;
    case 12:
        lba = request.field(2, 4);
        count = request.field(6, 4);
        break;
    case 16:
        lba = request.field(2, 8);
        count = request.field(10, 4);
        break;
    default: return false;
    }
    switch (request.op()) {
    case scsi::read_6:
    case scsi::read_10:
    case scsi::read_12:
    case scsi::read_16: read(co, request, lba, count); return true;
    case scsi::write_6:
    case scsi::write_10:
    case scsi::write_12:
    case scsi::write_16: write(co, request, lba, count, false); return true;
    case scsi::write_verify_10:
    case scsi::write_verify_12:
    case scsi::write_verify_16: write(co, request, lba, count, true); return true;
    case scsi::verify_10:
    case scsi::verify_12:
    case scsi::verify_16:
        // Nothing is compared: the medium is as readable as it is.
        if ((request.field(1, 1) & 6) != 0) request.fail(scsi::invalid_field);
        return true;
    case scsi::write_same_10:
    case scsi::write_same_16: write_same(co, request, lba, count); return true;
    case scsi::seek_10: check_range(request, lba, 0); return true;
    case scsi::synchronize_cache_10: synchronize(co, request); return true;
    case scsi::unmap: unmap(co, request); return true;
    default: return false;
    }
}

void ScsiDisk::run_command(sim::Co& co, ScsiRequest& request) {
    // These have an answer without a medium too.
    switch (request.op()) {
    case scsi::inquiry: inquiry(request); return;
    case scsi::request_sense: {
        const auto bytes = scsi::fixed_sense(scsi::no_sense);
        request.reply_padded(bytes.data(), bytes.size(), request.field(4, 1));
        return;
    }
    case scsi::mode_sense_6:
    case scsi::mode_sense_10: mode_sense(request); return;
    case scsi::reserve_6:
    case scsi::release_6:
    case scsi::reserve_10:
    case scsi::release_10: return;
    case scsi::start_stop: start_stop(co, request); return;
    case scsi::prevent_allow: prevent_removal((request.field(4, 1) & 1) != 0); return;
    default: break;
    }
    const bool no_medium_needed = request.op() == scsi::get_configuration ||
                                  request.op() == scsi::get_event_status ||
                                  request.op() == scsi::mechanism_status;
    const Sense ready = readiness();
    if (!no_medium_needed && ready != scsi::no_sense) {
        request.fail(ready);
        return;
    }
    switch (request.op()) {
    case scsi::test_unit_ready:
    case scsi::format_unit: return;
    case scsi::mode_select_6:
    case scsi::mode_select_10: mode_select(co, request); return;
    case scsi::read_capacity_10: read_capacity_10(request); return;
    case scsi::service_action_in_16:
        if ((request.field(1, 1) & 31) == scsi::read_capacity_16_action)
            read_capacity_16(request);
        else
            request.fail(scsi::invalid_field);
        return;
    default: break;
    }
    if (!run_special(co, request) && !run_data_command(co, request))
        request.fail(scsi::invalid_opcode);
}

}  // namespace hwmodels
