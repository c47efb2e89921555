// SPDX-License-Identifier: Apache-2.0
// scsi-cd: a CD/DVD drive on a SCSI bus, with a tray that may be open, locked or empty.
//
// source  MMC-6; tray and medium behaviour as observed on the reference's device.
#include <algorithm>
#include <cstring>

#include "blocklayer/layer.hpp"
#include "blocklayer/monitor/command.hpp"
#include "hwmodels/machine.hpp"
#include "hwmodels/scsi/disk.hpp"
#include "sim/check.hpp"

namespace hwmodels {
namespace {

using blocklayer::failure;
using blocklayer::Status;
using blocklayer::Value;

constexpr std::uint32_t cd_block_bytes = 2048;
constexpr std::uint8_t mode_audio = 0x0e, mode_capabilities = 0x2a;
constexpr std::uint64_t cd_blocks_max = 360000;  // larger media are DVDs
constexpr std::uint16_t profile_cd = 0x08, profile_dvd = 0x10;
constexpr std::uint8_t lead_out = 0xaa;

const blocklayer::EventRegistration tray_event({"DEVICE_TRAY_MOVED",
                                                {blocklayer::required("device", "str"),
                                                 blocklayer::required("id", "str"),
                                                 blocklayer::required("tray-open", "bool")}});

class ScsiCd final : public ScsiDisk {
public:
    using ScsiDisk::ScsiDisk;

    Status realize(sim::Co& co) override {
        TRY(scsi_bus().place(*this));
        if (drive_.backend() == nullptr)
            TRY(drive_.attach_empty(scsi_bus().host().thread(), callbacks()));
        block_size_ = cd_block_bytes;
        properties().set("logical_block_size", cd_block_bytes);
        if (properties().number("physical_block_size") < cd_block_bytes)
            properties().set("physical_block_size", cd_block_bytes);
        return finish_realize(co, ReadOnlyMedium::yes, Resizable::no);
    }

protected:
    bool is_cd() const override { return true; }
    bool removable() const override { return true; }
    std::uint8_t device_type() const override { return 5; }

    blocklayer::DeviceCallbacks callbacks() override {
        blocklayer::DeviceCallbacks all = ScsiDisk::callbacks();
        all.change_media = [this](bool load) -> Status {
            changed(load);
            return {};
        };
        all.is_tray_open = [this] { return tray_open_; };
        all.is_medium_locked = [this] { return locked_; };
        all.eject_request = [this](bool force) {
            eject_wanted_ = true;
            if (force) locked_ = false;
        };
        return all;
    }

    // A medium came (the tray closes over it) or is about to go (the tray opens).
    void changed(bool load) {
        tray_open_ = !load;
        event_new_medium_ = load;
        event_ejected_ = !load;
        set_unit_attention(scsi::medium_changed);
        scsi_bus().host().unit_attention(*this, scsi::medium_changed);
    }

    scsi::Sense readiness() const override {
        if (tray_open_) return scsi::tray_open;
        return ScsiDisk::readiness();
    }

    // Without an event.
    void unit_reset() override { locked_ = tray_open_ = false; }
    void prevent_removal(bool prevent) override { locked_ = prevent; }

    void start_stop(sim::Co&, ScsiRequest& request) override {
        const auto flags = static_cast<unsigned>(request.field(4, 1));
        const bool start = (flags & 1) != 0, load_eject = (flags & 2) != 0;
        if (!load_eject || (flags >> 4) != 0) return;
        if (!start && !tray_open_ && locked_) {
            request.fail(scsi::removal_prevented);
            return;
        }
        if (tray_open_ == !start) return;
        tray_open_ = !start;
        Value data = Value::dict({{"device", drive_.backend()->name()},
                                  {"tray-open", tray_open_},
                                  {"id", id().empty() ? path() : id()}});
        machine().layer().emit_event("DEVICE_TRAY_MOVED", std::move(data));
    }

    bool add_mode_page(std::uint8_t page, bool changeable,
                       std::vector<std::byte>& out) const override {
        const std::size_t at = out.size();
        if (page == mode_audio) {
            out.resize(at + 16);
            out[at] = std::byte{page};
            out[at + 1] = std::byte{14};
            return true;
        }
        if (page != mode_capabilities) return ScsiDisk::add_mode_page(page, changeable, out);
        out.resize(at + 22);
        out[at] = std::byte{page};
        out[at + 1] = std::byte{20};
        if (changeable) return true;
        out[at + 2] = std::byte{0x3b};  // reads CD-R, CD-RW, DVD
        out[at + 4] = std::byte{0x7f};
        out[at + 5] = std::byte{0xff};
        out[at + 6] = std::byte{static_cast<unsigned char>(0x2d | (locked_ ? 2 : 0))};
        scsi::put_be(&out[at + 8], 2, 50 * 176);  // KB/s
        scsi::put_be(&out[at + 10], 2, 2);
        scsi::put_be(&out[at + 12], 2, 2048);  // buffer, KiB
        for (const std::size_t where : {14, 18, 20}) scsi::put_be(&out[at + where], 2, 16 * 176);
        return true;
    }

    bool run_special(sim::Co&, ScsiRequest& request) override {
        switch (request.op()) {
        case scsi::read_toc: toc(request); return true;
        case scsi::get_configuration: configuration(request); return true;
        case scsi::get_event_status: event_status(request); return true;
        case scsi::mechanism_status: {
            std::array<std::byte, 8> bytes{};
            bytes[5] = std::byte{1};  // one slot
            request.reply_padded(bytes.data(), bytes.size(), request.field(8, 2));
            return true;
        }
        case scsi::read_dvd_structure: request.fail(scsi::incompatible_format); return true;
        case scsi::read_disc_information: {
            if ((request.field(1, 1) & 7) != 0) {
                request.fail(scsi::invalid_field);
                return true;
            }
            std::array<std::byte, 34> bytes{};
            scsi::put_be(&bytes[0], 2, 32);
            bytes[2] = std::byte{0x0e};  // closed session, complete disc
            bytes[3] = bytes[4] = bytes[5] = bytes[6] = std::byte{1};
            bytes[7] = std::byte{0x20};
            request.reply_padded(bytes.data(), bytes.size(), request.field(7, 2));
            return true;
        }
        default: return false;
        }
    }

private:
    // One track of data over the whole disc.
    void toc(ScsiRequest& request) {
        const bool msf = request.bit(1, 1);
        const unsigned format = static_cast<unsigned>(request.field(2, 1)) & 15;
        const auto first = static_cast<unsigned>(request.field(6, 1));
        const auto put_address = [&](std::byte* at, std::uint64_t lba) {
            if (!msf) {
                scsi::put_be(at, 4, lba);
                return;
            }
            const std::uint64_t frame = lba + 150;
            at[1] = static_cast<std::byte>(frame / 75 / 60);
            at[2] = static_cast<std::byte>(frame / 75 % 60);
            at[3] = static_cast<std::byte>(frame % 75);
        };
        std::vector<std::byte> out(4);
        out[2] = out[3] = std::byte{1};
        if (format == 0) {
            if (first > 1 && first != lead_out) {
                request.fail(scsi::invalid_field);
                return;
            }
            for (const std::uint8_t track : {std::uint8_t{1}, lead_out}) {
                if (first == lead_out && track != lead_out) continue;
                const std::size_t at = out.size();
                out.resize(at + 8);
                out[at + 1] = track == 1 ? std::byte{0x14} : std::byte{0x16};  // data
                out[at + 2] = std::byte{track};
                put_address(&out[at + 4], track == 1 ? 0 : blocks());
            }
        } else if (format == 1) {
            out.resize(12);
        } else if (format == 2) {
            // Where the first and last track are, the lead-out, and the one track itself.
            for (const std::uint8_t point : {0xa0, 0xa1, 0xa2, 0x01}) {
                const std::size_t at = out.size();
                out.resize(at + 11);
                out[at] = std::byte{1};
                out[at + 1] = std::byte{0x14};
                out[at + 3] = std::byte{point};
                if (point == 0xa0 || point == 0xa1)
                    out[at + 8] = std::byte{1};
                else
                    put_address(&out[at + 7], point == 0xa2 ? blocks() : 0);
            }
        } else {
            request.fail(scsi::invalid_field);
            return;
        }
        scsi::put_be(out.data(), 2, out.size() - 2);
        request.reply_padded(out.data(), out.size(), request.field(7, 2));
    }

    void configuration(ScsiRequest& request) {
        std::uint16_t current = 0;
        if (drive_.backend()->has_medium() && !tray_open_)
            current = blocks() > cd_blocks_max ? profile_dvd : profile_cd;
        std::vector<std::byte> out(8 + 12 + 12 + 8);
        scsi::put_be(&out[6], 2, current);
        scsi::put_be(&out[8], 2, 0);  // profile list
        out[10] = std::byte{3};
        out[11] = std::byte{8};
        scsi::put_be(&out[12], 2, profile_dvd);
        out[14] = std::byte{static_cast<unsigned char>(current == profile_dvd)};
        scsi::put_be(&out[16], 2, profile_cd);
        out[18] = std::byte{static_cast<unsigned char>(current == profile_cd)};
        scsi::put_be(&out[20], 2, 1);  // core
        out[22] = std::byte{11};
        out[23] = std::byte{8};
        scsi::put_be(&out[24], 4, 1);  // SCSI family
        out[28] = std::byte{1};
        scsi::put_be(&out[32], 2, 3);  // removable medium
        out[34] = std::byte{11};
        out[35] = std::byte{4};
        out[36] = std::byte{0x39};  // tray, ejects, locks
        scsi::put_be(&out[0], 4, out.size() - 4);
        request.reply_padded(out.data(), out.size(), request.field(7, 2));
    }

    void event_status(ScsiRequest& request) {
        const auto classes = static_cast<unsigned>(request.field(4, 1));
        if (!request.bit(1, 0)) {  // only polled
            request.fail(scsi::invalid_field);
            return;
        }
        std::array<std::byte, 8> bytes{};
        bytes[3] = std::byte{0x10};  // media class is all there is
        std::size_t size = 4;
        if ((classes & 0x10) != 0) {
            size = 8;
            bytes[2] = std::byte{4};
            unsigned event = 0;
            if (event_new_medium_) {
                event = 2;
            } else if (event_ejected_) {
                event = 3;
            } else if (eject_wanted_) {
                event = 1;
            }
            event_new_medium_ = event_ejected_ = eject_wanted_ = false;
            bytes[4] = static_cast<std::byte>(event);
            bytes[5] = static_cast<std::byte>((tray_open_ ? 1 : 0) |
                                              (drive_.backend()->has_medium() ? 2 : 0));
        } else {
            bytes[2] = std::byte{0x80};  // no such event
        }
        scsi::put_be(&bytes[0], 2, size - 4);
        request.reply_padded(bytes.data(), size, request.field(7, 2));
    }

    bool tray_open_ = false, locked_ = false;
    bool event_new_medium_ = false, event_ejected_ = false, eject_wanted_ = false;
};

const DeviceRegistration registration({
    .name = "scsi-cd",
    .bus = "SCSI",
    .properties = scsi_disk_properties() +
                  std::vector<PropertySpec>{
                      {"quirk_mode_page_apple_vendor", PropertyKind::boolean, false},
                      {"quirk_mode_sense_rom_use_dbd", PropertyKind::boolean, false},
                      {"quirk_mode_page_truncated", PropertyKind::boolean, false},
                  },
    .make = [](Machine& machine, const DeviceSpec& spec) -> std::unique_ptr<Device> {
        return std::make_unique<ScsiCd>(machine, spec);
    },
    .source = "MMC-6",
});

}  // namespace
}  // namespace hwmodels
