// SPDX-License-Identifier: Apache-2.0
// ide-cd: a CD/DVD drive with the packet command set: SCSI command blocks over ATA.
//
// What a command block means is the same as on a SCSI bus, so the drive has a scsi-cd inside, on a
// bus of its own; only the way of blocks and data is here.
//
// source  ATA/ATAPI-7 (PACKET), MMC-6.
#include <fmt/format.h>
#include <algorithm>
#include <array>
#include <cstring>

#include "hwmodels/ata/drive.hpp"
#include "hwmodels/ata/identify.hpp"
#include "hwmodels/machine.hpp"
#include "hwmodels/scsi/bus.hpp"
#include "hwmodels/scsi/transfer.hpp"
#include "sim/check.hpp"

namespace hwmodels {
namespace {

using namespace ata;
using blocklayer::failure;
using blocklayer::Status;

constexpr std::size_t packet_bytes = 12;
constexpr std::uint64_t data_bytes_max = 4 << 20;  // of one command
constexpr std::uint8_t packet_dma = 1;

class AtaCd final : public AtaDrive, private ScsiHost {
public:
    AtaCd(Machine& machine, const DeviceSpec& spec) : AtaDrive(machine, spec) {}
    ~AtaCd() override {
        if (inside_ != nullptr) machine().drop_inside(*inside_);
    }

    Status set_drive(std::string_view name) override {
        make_inside();
        return inside_->set_drive(name);
    }
    Status change_drive(sim::Co& co, std::string_view name) override {
        return inside_->change_drive(co, name);
    }
    blocklayer::BlockBackend* backend() const override {
        return inside_ != nullptr ? inside_->backend() : nullptr;
    }
    std::uint32_t signature() const override { return 0xeb14'0101; }

protected:
    Status realize_drive(sim::Co& co) override {
        make_inside();
        if (properties().text("model").empty()) properties().set("model", "QEMU DVD-ROM");
        if (properties().text("serial").empty())
            properties().set("serial", fmt::format("QM{:05}", machine().next_bus_number("ata")));
        for (const PropertySpec& property : inside_->spec().properties)
            if (property.name != "drive" && property.name != "serial" &&
                find_property(spec(), property.name) != nullptr)
                inside_->properties().set(property, properties().get(property));
        inside_->properties().set("product", properties().text("model"));
        return inside_->realize(co);
    }
    void unrealize_drive(sim::Co& co) override { inside_->unrealize(co); }
    void drive_reset() override {
        if (placed) inside_->reset();
    }
    void run_state_changed(bool running) override {
        AtaDrive::run_state_changed(running);
        inside_->run_state_changed(running);
    }
    void run(sim::Co& co, std::uint8_t command) override;

private:
    void make_inside() {
        if (inside_ != nullptr) return;
        ScsiHost& adapter = *this;
        bus_ = std::make_unique<ScsiBus>("atapi", this, adapter, ScsiLimits{});
        inside_ = machine().make_inside(*bus_, "scsi-cd", id(), path());
    }
    ScsiDevice& unit_inside() const { return static_cast<ScsiDevice&>(*inside_); }
    // ScsiHost
    sim::Thread& thread() const override { return host().thread(); }
    Status unit_added(ScsiDevice&) override { return {}; }
    void unit_removed(ScsiDevice&) override {}
    void unit_attention(ScsiDevice&, const scsi::Sense&) override {}

    void run_packet(sim::Co& co);
    bool give_data(sim::Co& co, std::span<std::byte> bytes);
    void end_packet(const ScsiRequest& request);

    std::unique_ptr<ScsiBus> bus_;
    std::unique_ptr<Device> inside_;
    scsi::Sense sense_;
};

void AtaCd::run(sim::Co& co, std::uint8_t command) {
    switch (command) {
    case packet: run_packet(co); return;
    case identify_packet: {
        auto words = identify_packet_device(properties());
        if (move(co, words, true) && alive()) status_ = status_ready | status_seek;
        return;
    }
    case device_reset:
        if (!alive()) return;
        now_.count = now_.lba[0] = 1;
        now_.lba[1] = 0x14;
        now_.lba[2] = 0xeb;
        status_ = 0;
        return;
    case identify:
        // Tells what it is, and that this is not for it.
        now_.count = now_.lba[0] = 1;
        now_.lba[1] = 0x14;
        now_.lba[2] = 0xeb;
        fail();
        return;
    case set_features:
    case check_power:
    case standby_now:
    case idle_now:
    case flush: succeed(); return;
    default: fail(); return;
    }
}

void AtaCd::run_packet(sim::Co& co) {
    const bool by_dma = (now_.features & packet_dma) != 0;
    ScsiRequest request;
    now_.count = reason_command;
    std::array<std::byte, packet_bytes> block{};
    if (!move(co, block, false)) return;
    std::copy(block.begin(), block.end(), request.cdb.begin());
    const scsi::Transfer transfer = scsi::transfer_of(request.cdb, unit_inside().block_bytes());
    std::vector<std::byte> data(std::min(transfer.bytes, data_bytes_max));
    if (transfer.bytes > data.size()) {
        request.fail(scsi::invalid_field);
        end_packet(request);
        return;
    }
    if (transfer.to_device && !data.empty() && !move(co, data, false)) return;
    (transfer.to_device ? request.to_device : request.from_device) =
        sim::IoView(std::span<std::byte>(data));
    // What the last command failed with is asked for by a command of its own here.
    const scsi::Sense last = std::exchange(sense_, scsi::no_sense);
    if (request.op() == scsi::request_sense && last != scsi::no_sense) {
        const auto bytes = scsi::fixed_sense(last);
        request.reply(bytes.data(), bytes.size(), data.size());
    } else {
        unit_inside().execute(co, request);
    }
    if (!alive()) return;
    if (request.status == scsi::good && !transfer.to_device && request.transferred > 0) {
        const std::span<std::byte> bytes(data.data(), request.transferred);
        if (!by_dma && !give_data(co, bytes)) return;
        std::vector<sim::IoVec> list;
        for (std::size_t done = 0; by_dma && done < bytes.size();) {
            if (!host().map(co, *this, bytes.size() - done, list)) return;
            const sim::IoView memory{std::span<const sim::IoVec>(list)};
            if (memory.empty()) break;
            memory.copy_from(bytes.data() + done);
            done += memory.size();
            host().moved(*this, memory.size());
        }
    }
    end_packet(request);
}

// In portions of the size the host gave with the command.
bool AtaCd::give_data(sim::Co& co, std::span<std::byte> bytes) {
    std::size_t portion = now_.lba[1] | std::size_t{now_.lba[2]} << 8;
    if (portion == 0 || portion == 0xffff) portion = 0xfffe;
    portion &= ~std::size_t{1};
    if (portion == 0) portion = 2;
    while (!bytes.empty()) {
        const std::size_t part = std::min(bytes.size(), portion);
        now_.count = reason_to_host;
        now_.lba[1] = static_cast<std::uint8_t>(part);
        now_.lba[2] = static_cast<std::uint8_t>(part >> 8);
        if (!move(co, bytes.first(part), true)) return false;
        bytes = bytes.subspan(part);
    }
    return true;
}

void AtaCd::end_packet(const ScsiRequest& request) {
    if (!alive()) return;
    now_.count = reason_done;
    if (request.status == scsi::good) {
        succeed();
        return;
    }
    sense_ = request.sense;
    fail(static_cast<std::uint8_t>(request.sense.key << 4));
}

const DeviceRegistration registration({
    .name = "ide-cd",
    .bus = "IDE",
    .properties = ata_properties(),
    .make = [](Machine& machine, const DeviceSpec& spec) -> std::unique_ptr<Device> {
        return std::make_unique<AtaCd>(machine, spec);
    },
    .source = "ATA/ATAPI-7",
});

}  // namespace
}  // namespace hwmodels
