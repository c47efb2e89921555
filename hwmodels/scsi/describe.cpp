// SPDX-License-Identifier: Apache-2.0
// ScsiDisk: the commands that describe the device: INQUIRY, MODE SENSE and SELECT, READ CAPACITY.
#include <algorithm>
#include <bit>
#include <cstring>
#include <string>

#include "hwmodels/scsi/disk.hpp"

namespace hwmodels {

namespace {

constexpr std::uint8_t page_serial = 0x80, page_identification = 0x83, page_limits = 0xb0,
                       page_characteristics = 0xb1, page_provisioning = 0xb2;
constexpr std::uint8_t mode_caching = 0x08, mode_error_recovery = 0x01, mode_rigid_geometry = 0x04,
                       mode_flexible_geometry = 0x05, mode_all = 0x3f;
constexpr std::uint64_t rotations_per_minute = 5400;
constexpr std::size_t inquiry_bytes = 36;

void put_text(std::byte* at, std::size_t size, const std::string& text) {
    std::memset(at, ' ', size);
    std::memcpy(at, text.data(), std::min(size, text.size()));
}

}  // namespace

void ScsiDisk::inquiry(ScsiRequest& request) const {
    if (request.bit(1, 0)) {
        vital_product_data(request);
        return;
    }
    if (request.field(2, 1) != 0) {
        request.fail(scsi::invalid_field);
        return;
    }
    const std::uint64_t allowed = request.field(3, 2);
    std::array<std::byte, inquiry_bytes> bytes{};
    bytes[0] = std::byte{device_type()};
    bytes[1] = removable() ? std::byte{0x80} : std::byte{0};
    bytes[2] = static_cast<std::byte>(properties().integer("scsi_version"));
    bytes[3] = std::byte{0x12};  // response format 2, hierarchical addresses
    // As much as is asked for, filled with zeros.
    const std::uint64_t whole = std::clamp<std::uint64_t>(allowed, inquiry_bytes, 255 + 5);
    bytes[4] = static_cast<std::byte>(whole - 5);
    bytes[7] = std::byte{0x12};  // tagged queueing, synchronous transfer
    put_text(&bytes[8], 8, properties().text("vendor"));
    put_text(&bytes[16], 16, properties().text("product"));
    put_text(&bytes[32], 4, properties().text("ver"));
    request.reply_padded(bytes.data(), bytes.size(), allowed);
}

void ScsiDisk::vital_product_data(ScsiRequest& request) const {
    const auto page = static_cast<std::uint8_t>(request.field(2, 1));
    std::vector<std::byte> out(4);
    out[0] = std::byte{device_type()};
    out[1] = std::byte{page};
    const auto add = [&](std::size_t bytes) {
        out.resize(out.size() + bytes);
        return out.data() + out.size() - bytes;
    };
    const std::string& serial = properties().text("serial");
    switch (page) {
    case 0: {
        out.push_back(std::byte{0});
        if (!serial.empty()) out.push_back(std::byte{page_serial});
        out.push_back(std::byte{page_identification});
        if (is_cd()) break;
        for (const std::uint8_t one : {page_limits, page_characteristics, page_provisioning})
            out.push_back(std::byte{one});
        break;
    }
    case page_serial: {
        if (serial.empty()) {
            request.fail(scsi::invalid_field);
            return;
        }
        const std::size_t length = std::min<std::size_t>(serial.size(), 36);
        std::memcpy(add(length), serial.data(), length);
        break;
    }
    case page_identification: {
        std::string name = properties().text("device_id");
        if (name.empty()) name = serial.empty() ? drive_.backend()->name() : serial;
        const std::size_t length = std::min<std::size_t>(name.size(), 255 - 8);
        if (length > 0) {
            std::byte* at = add(4 + length);
            at[0] = std::byte{2};  // ASCII, vendor specific
            at[3] = static_cast<std::byte>(length);
            std::memcpy(at + 4, name.data(), length);
        }
        if (const std::uint64_t wwn = properties().number("wwn")) {
            std::byte* at = add(12);
            at[0] = std::byte{1};
            at[1] = std::byte{3};  // NAA
            at[3] = std::byte{8};
            scsi::put_be(at + 4, 8, wwn);
        }
        break;
    }
    case page_limits: {
        if (is_cd()) {
            request.fail(scsi::invalid_field);
            return;
        }
        std::byte* at = add(60) - 4;  // offsets below count from the page's start
        at[4] = std::byte{1};         // WRITE SAME needs a number of blocks
        const std::uint64_t most = properties().number("max_unmap_size") / block_size_;
        scsi::put_be(at + 6, 2, properties().number("min_io_size") / block_size_);
        scsi::put_be(at + 8, 4, properties().number("max_io_size") / block_size_);
        scsi::put_be(at + 12, 4, properties().number("opt_io_size") / block_size_);
        scsi::put_be(at + 20, 4, std::min<std::uint64_t>(most, UINT32_MAX));
        scsi::put_be(at + 24, 4, 255);
        scsi::put_be(at + 28, 4, drive_.discard_granularity() / block_size_);
        scsi::put_be(at + 36, 8, properties().number("max_io_size") / block_size_);
        break;
    }
    case page_characteristics:
    case page_provisioning: {
        std::byte* at = add(page == page_characteristics ? 60 : 4) - 4;
        if (page == page_characteristics) {
            if (!is_cd()) scsi::put_be(at + 4, 2, properties().number("rotation_rate"));
        } else {
            at[5] = std::byte{0xe0};  // UNMAP, WRITE SAME (10) and (16) with UNMAP
            at[6] = drive_.discard_granularity() != 0 ? std::byte{2} : std::byte{1};
        }
        break;
    }
    default: request.fail(scsi::invalid_field); return;
    }
    scsi::put_be(out.data() + 2, 2, out.size() - 4);
    request.reply_padded(out.data(), out.size(), request.field(3, 2));
}

void ScsiDisk::put_rigid_geometry(std::byte* at) const {
    scsi::put_be(at, 3, properties().number("cyls"));
    scsi::put_be(at + 3, 1, properties().number("heads"));
    // Where write precompensation and reduced write current start: never.
    scsi::put_be(at + 4, 3, properties().number("cyls"));
    scsi::put_be(at + 7, 3, properties().number("cyls"));
    scsi::put_be(at + 10, 2, 200);  // step rate, 100 ns
    scsi::put_be(at + 12, 3, 0xffffff);
    scsi::put_be(at + 18, 2, rotations_per_minute);
}

void ScsiDisk::put_flexible_geometry(std::byte* at) const {
    scsi::put_be(at, 2, 5000);  // transfer rate, kbit/s
    scsi::put_be(at + 2, 1, properties().number("heads"));
    scsi::put_be(at + 3, 1, properties().number("secs"));
    scsi::put_be(at + 4, 2, block_size_);
    for (const std::size_t where : {6, 8, 10})
        scsi::put_be(at + where, 2, properties().number("cyls"));
    scsi::put_be(at + 12, 2, 1);  // step rate, step pulse, head settling
    scsi::put_be(at + 14, 1, 1);
    scsi::put_be(at + 15, 2, 1);
    scsi::put_be(at + 17, 2, 0x0101);
    scsi::put_be(at + 26, 2, rotations_per_minute);
}

bool ScsiDisk::add_mode_page(std::uint8_t page, bool changeable,
                             std::vector<std::byte>& out) const {
    std::vector<std::byte> body;
    if (page == mode_caching) {
        body.resize(18);
        if (changeable || drive_.backend()->write_cache) body[0] = std::byte{4};  // WCE
    } else if (page == mode_error_recovery) {
        body.resize(10);
        if (!changeable || is_cd()) body[0] = std::byte{0x80};  // automatic write reallocation
        if (!changeable && is_cd()) body[1] = std::byte{0x20};  // read retries
    } else if (page == mode_rigid_geometry && !is_cd()) {
        body.resize(22);
        if (!changeable) put_rigid_geometry(body.data());
    } else if (page == mode_flexible_geometry && !is_cd()) {
        body.resize(30);
        if (!changeable) put_flexible_geometry(body.data());
    } else {
        return false;
    }
    out.push_back(std::byte{page});
    out.push_back(static_cast<std::byte>(body.size()));
    out.insert(out.end(), body.begin(), body.end());
    return true;
}

void ScsiDisk::mode_sense(ScsiRequest& request) const {
    const bool ten = request.op() == scsi::mode_sense_10;
    const bool no_descriptor = request.bit(1, 3) || is_cd();
    const auto page = static_cast<std::uint8_t>(request.field(2, 1) & 0x3f);
    const unsigned control = static_cast<unsigned>(request.field(2, 1)) >> 6;
    const std::uint64_t allowed = ten ? request.field(7, 2) : request.field(4, 1);
    if (control == 3) {
        request.fail(scsi::saving_not_supported);
        return;
    }
    std::vector<std::byte> out(ten ? 8 : 4);
    const std::size_t header = out.size();
    std::uint8_t specific = 0;
    if (!is_cd()) {
        if (find_property(spec(), "dpofua") != nullptr && properties().flag("dpofua"))
            specific |= 0x10;
        if (read_only()) specific |= 0x80;
    }
    out[ten ? 3 : 2] = std::byte{specific};
    if (!no_descriptor && drive_.backend()->has_medium()) {
        out.resize(header + 8);
        scsi::put_be(out.data() + header, 4, std::min<std::uint64_t>(blocks(), 0xffffff));
        scsi::put_be(out.data() + header + 5, 3, block_size_);
        out[header - 1] = std::byte{8};
    }
    const bool changeable = control == 1;
    if (page == mode_all) {
        for (std::uint8_t one = 0; one < mode_all; ++one) add_mode_page(one, changeable, out);
    } else if (!add_mode_page(page, changeable, out)) {
        request.fail(scsi::invalid_field);
        return;
    }
    // The length counts what follows it.
    if (ten)
        scsi::put_be(out.data(), 2, out.size() - 2);
    else
        out[0] = static_cast<std::byte>(std::min<std::size_t>(out.size() - 1, 255));
    request.reply_padded(out.data(), out.size(), allowed);
}

void ScsiDisk::mode_select(sim::Co& co, ScsiRequest& request) {
    const bool ten = request.op() == scsi::mode_select_10;
    const std::uint64_t length = ten ? request.field(7, 2) : request.field(4, 1);
    if (length == 0) return;
    // Page format only, and nothing is saved.
    if ((request.field(1, 1) & 0x11) != 0x10) {
        request.fail(scsi::invalid_field);
        return;
    }
    std::vector<std::byte> list(std::min<std::uint64_t>(length, request.to_device.size()));
    request.to_device.sub(0, list.size()).copy_to(list.data());
    request.transferred = list.size();
    if (list.empty()) return;
    const std::size_t header = ten ? 8 : 4;
    if (list.size() < header) {
        request.fail(scsi::invalid_parameter_length);
        return;
    }
    const std::uint64_t descriptor =
        ten ? scsi::get_be(list.data() + 6, 2) : scsi::get_be(list.data() + 3, 1);
    if (descriptor != 0 && descriptor != 8) {
        request.fail(scsi::invalid_parameter_list);
        return;
    }
    std::size_t at = header + descriptor;
    if (at > list.size()) {
        request.fail(scsi::invalid_parameter_length);
        return;
    }
    bool cache = drive_.backend()->write_cache;
    while (at < list.size()) {
        if (at + 2 > list.size()) {
            request.fail(scsi::invalid_parameter_length);
            return;
        }
        const auto page = std::to_integer<std::uint8_t>(list[at]);
        const auto size = std::to_integer<std::size_t>(list[at + 1]);
        std::vector<std::byte> now, mask;
        if (!add_mode_page(page, false, now) || !add_mode_page(page, true, mask)) {
            request.fail(scsi::invalid_parameter_list);
            return;
        }
        if (size + 2 != now.size() || at + 2 + size > list.size()) {
            request.fail(scsi::invalid_parameter_length);
            return;
        }
        for (std::size_t i = 2; i < now.size(); ++i)
            if (((list[at + i] ^ now[i]) & ~mask[i]) != std::byte{0}) {
                request.fail(scsi::invalid_parameter_list);
                return;
            }
        if (page == mode_caching) cache = (list[at + 2] & std::byte{4}) != std::byte{0};
        at += 2 + size;
    }
    if (cache == drive_.backend()->write_cache) return;
    drive_.backend()->write_cache = cache;
    // What was cached until now is stable from here on.
    if (!cache) synchronize(co, request);
}

void ScsiDisk::read_capacity_10(ScsiRequest& request) const {
    if (request.field(2, 4) != 0 && !request.bit(8, 0)) {
        request.fail(scsi::invalid_field);
        return;
    }
    if (blocks() == 0) {
        request.fail(scsi::not_ready);
        return;
    }
    std::array<std::byte, 8> bytes{};
    scsi::put_be(&bytes[0], 4, std::min<std::uint64_t>(blocks() - 1, UINT32_MAX));
    scsi::put_be(&bytes[4], 4, block_size_);
    request.reply(bytes.data(), bytes.size(), bytes.size());
}

void ScsiDisk::read_capacity_16(ScsiRequest& request) const {
    if (blocks() == 0) {
        request.fail(scsi::not_ready);
        return;
    }
    std::array<std::byte, 32> bytes{};
    scsi::put_be(&bytes[0], 8, blocks() - 1);
    scsi::put_be(&bytes[8], 4, block_size_);
    bytes[13] = static_cast<std::byte>(
        std::countr_zero(drive_.physical_block_size() / drive_.logical_block_size()));
    if (drive_.discard_granularity() != 0) bytes[14] = std::byte{0x80};  // thin provisioning
    request.reply_padded(bytes.data(), bytes.size(), request.field(10, 4));
}

}  // namespace hwmodels
