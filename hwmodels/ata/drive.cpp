// SPDX-License-Identifier: Apache-2.0
#include "hwmodels/ata/drive.hpp"

#include <fmt/format.h>
#include <algorithm>

#include "blocklayer/graph/backend.hpp"
#include "hwmodels/machine.hpp"
#include "sim/check.hpp"
#include "sim/mutant.hpp"

namespace hwmodels {

using namespace ata;
using blocklayer::ErrorAction;
using blocklayer::failure;
using blocklayer::Status;
using sim::Errno;

std::vector<PropertySpec> ata_properties() {
    return block_properties() + error_properties() +
           std::vector<PropertySpec>{
               {"unit", PropertyKind::uint32, std::uint64_t{UINT32_MAX}},
               {"ver", PropertyKind::string, ""},
               {"wwn", PropertyKind::uint64, 0},
               {"serial", PropertyKind::string, ""},
               {"model", PropertyKind::string, ""},
           };
}

AtaDrive* AtaBus::drive(std::uint32_t unit) const {
    for (Device* device : devices()) {
        auto* drive = static_cast<AtaDrive*>(device);
        if (drive->placed && drive->unit == unit) return drive;
    }
    return nullptr;
}

// ---- life --------------------------------------------------------------------------------------

Status AtaDrive::realize(sim::Co& co) {
    Properties& p = properties();
    const std::uint64_t wanted = p.number("unit");
    std::uint64_t place = wanted == UINT32_MAX ? 0 : wanted;
    if (wanted == UINT32_MAX && ata_bus().drive(0) != nullptr) place = 1;
    if (place >= ata_bus().units())
        return failure(fmt::format("Can't create IDE unit {}, bus supports only {} units", place,
                                   ata_bus().units()));
    if (ata_bus().drive(static_cast<std::uint32_t>(place)) != nullptr)
        return failure(fmt::format("IDE unit {} is in use", place));
    if (p.text("ver").empty()) p.set("ver", "2.5+");
    TRY(realize_drive(co));
    unit = static_cast<std::uint32_t>(place);
    p.set("unit", place);
    placed = true;
    restore_registers();
    return {};
}

void AtaDrive::unrealize(sim::Co& co) {
    placed = false;
    cancel();
    while (in_flight_ > 0) idle_.wait(co);
    unrealize_drive(co);
}

void AtaDrive::run_state_changed(bool running) {
    if (running) retry_.wake_all();
}

// ---- registers ---------------------------------------------------------------------------------

std::uint8_t AtaDrive::read(unsigned reg) const {
    switch (reg) {
    case error_features: return error_;
    case sector_count: return now_.count;
    case lba_low:
    case lba_mid:
    case lba_high: return now_.lba[reg - lba_low];
    case ata::device: return now_.device;
    case status_command: return status_;
    default: return 0xff;
    }
}

void AtaDrive::write(unsigned reg, std::uint8_t value) {
    if ((status_ & status_busy) != 0) return;
    const auto push = [&](std::uint8_t& now, std::uint8_t& before) {
        before = now;
        now = value;
    };
    switch (reg) {
    case error_features: push(now_.features, before_.features); return;
    case sector_count: push(now_.count, before_.count); return;
    case lba_low:
    case lba_mid:
    case lba_high: push(now_.lba[reg - lba_low], before_.lba[reg - lba_low]); return;
    case ata::device: now_.device = value | 0xa0; return;
    default: return;
    }
}

std::uint16_t AtaDrive::read_data() {
    if ((status_ & status_data_request) == 0 || !window_to_host_) return 0;
    std::uint16_t value = 0;
    for (int i = 0; i < 2 && window_at_ < window_.size(); ++i)
        value |=
            static_cast<std::uint16_t>(std::to_integer<unsigned>(window_[window_at_++]) << (8 * i));
    if (window_at_ == window_.size()) {
        status_ = status_busy;
        data_moved_.wake_all();
    }
    return value;
}

void AtaDrive::write_data(std::uint16_t value) {
    if ((status_ & status_data_request) == 0 || window_to_host_) return;
    for (int i = 0; i < 2 && window_at_ < window_.size(); ++i)
        window_[window_at_++] = static_cast<std::byte>(value >> (8 * i));
    if (window_at_ == window_.size()) {
        status_ = status_busy;
        data_moved_.wake_all();
    }
}

bool AtaDrive::move_by_register(sim::Co& co, std::span<std::byte> bytes, bool to_host) {
    if (!alive()) return false;
    window_ = bytes;
    window_at_ = 0;
    window_to_host_ = to_host;
    status_ = status_ready | status_seek | status_data_request;
    host().interrupt(*this);
    while (alive() && window_at_ < bytes.size()) data_moved_.wait(co);
    if (!alive()) return false;
    window_ = {};
    return true;
}

bool AtaDrive::move(sim::Co& co, std::span<std::byte> bytes, bool to_host) {
    return alive() && host().move(co, *this, bytes, to_host);
}

// ---- commands ----------------------------------------------------------------------------------

void AtaDrive::start(std::uint8_t command) {
    if ((status_ & (status_busy | status_data_request)) != 0 && command != device_reset) return;
    if (command == device_reset) cancel();
    if (resetting_ || in_flight_ > 0) return;
    status_ = status_busy;
    error_ = 0;
    ++in_flight_;
    running_epoch_ = epoch_;
    machine().command_begun();
    machine().world().spawn(host().thread(), "ata command", [this, command](sim::Co& co) {
        machine().command_arrived();
        run(co, command);
        end_command();
    });
}

void AtaDrive::end_command() {
    const bool was_alive = alive();
    EXPECTS(in_flight_ > 0);
    if (--in_flight_ > 0) return;
    idle_.wake_all();
    if (resetting_) {
        resetting_ = false;
        restore_registers();
        if (placed) host().reset_ended(*this);
    } else if (placed) {
        if (was_alive)
            host().command_ended(*this);
        else
            host().idle(*this);
    }
}

void AtaDrive::succeed(std::uint8_t status) {
    if (!alive() && !sim::mutant<"ata: cancelled commands are answered">()) return;
    status_ = status;
    host().interrupt(*this);
}

void AtaDrive::fail(std::uint8_t error) {
    if (!alive()) return;
    status_ = status_ready | status_error;
    error_ = error;
    host().interrupt(*this);
}

bool AtaDrive::retry_after(sim::Co& co, bool is_read, Errno error, bool& ignored) {
    switch (drive_.backend()->on_error(is_read, error)) {
    case ErrorAction::ignore: ignored = true; return false;
    case ErrorAction::report: return false;
    case ErrorAction::stop: break;
    }
    do {
        if (!alive()) return false;
        retry_.wait(co);
    } while (!machine().running());
    return alive();
}

// ---- reset -------------------------------------------------------------------------------------

void AtaDrive::cancel() {
    ++epoch_;
    window_ = {};
    if ((status_ & (status_busy | status_data_request)) != 0) status_ = status_ready | status_seek;
    data_moved_.wake_all();
    retry_.wake_all();
    host().cancelled(*this);
}

void AtaDrive::reset() {
    if (sim::mutant<"S01">()) {  // the request in flight goes on, with the registers of power on
        restore_registers();
        if (placed) host().reset_ended(*this);
        return;
    }
    cancel();
    drive_reset();
    if (in_flight_ > 0 && !sim::mutant<"ata: a reset does not wait">()) {
        resetting_ = true;
        status_ = status_busy;
        return;
    }
    restore_registers();
    if (placed) host().reset_ended(*this);
}

void AtaDrive::restore_registers() {
    const std::uint32_t what = signature();
    now_ = before_ = {};
    now_.count = static_cast<std::uint8_t>(what);
    for (unsigned i = 0; i < 3; ++i) now_.lba[i] = static_cast<std::uint8_t>(what >> (8 * (i + 1)));
    now_.device = 0xa0;
    status_ = status_ready | status_seek;
    error_ = 1;  // diagnosis: all is well
    drive_reset();
}

}  // namespace hwmodels
