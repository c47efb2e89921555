// SPDX-License-Identifier: Apache-2.0
// lsi53c895a: a SCSI host adapter that runs programs ("SCRIPTS") out of guest memory.
//
// A program selects a target and moves bytes in the phases the target asks for. Targets here keep
// the bus from selection to the end of their command, so one command runs at a time; the program
// stands still while the target works. A reset ends the program at once, but not the target's I/O:
// the next command to that target begins when it is over.
//
// invariant  a program runs no more than steps_max instructions without moving data
// source     LSI53C895A Technical Manual: registers (4), SCSI SCRIPTS (5).
#include <fmt/format.h>
#include <algorithm>
#include <array>
#include <cstring>

#include "hwmodels/machine.hpp"
#include "hwmodels/pci/pci_device.hpp"
#include "hwmodels/scsi/bus.hpp"
#include "hwmodels/scsi/lsi.hpp"
#include "hwmodels/scsi/transfer.hpp"
#include "sim/check.hpp"
#include "sim/mutant.hpp"

namespace hwmodels {
namespace {

using blocklayer::Status;

constexpr std::uint32_t register_count = 0x60;
constexpr int steps_max = 10'000;
constexpr std::uint64_t data_bytes_max = 4 << 20;  // of one command
constexpr std::uint32_t targets_max = 7;
constexpr std::uint8_t message_complete = 0;

class Lsi final : public PciDevice, private ScsiHost {
public:
    Lsi(Machine& machine, const DeviceSpec& spec, const PciIds& ids)
        : PciDevice(machine, spec, ids) {}

    Status realize(sim::Co& co) override;
    void unrealize(sim::Co& co) override;
    void reset() override;
    void run_state_changed(bool running) override {
        if (running) resumed_.wake_all();
    }
    std::uint64_t bar_read(std::uint32_t bar, std::uint64_t offset, std::uint32_t size) override;
    void bar_write(std::uint32_t bar, std::uint64_t offset, std::uint32_t size,
                   std::uint64_t value) override;

private:
    // ScsiHost
    sim::Thread& thread() const override { return machine().world().main_thread(); }
    Status unit_added(ScsiDevice&) override { return {}; }
    void unit_removed(ScsiDevice&) override {}
    void unit_attention(ScsiDevice&, const scsi::Sense&) override {}

    ScsiBus& scsi_bus() const { return static_cast<ScsiBus&>(*buses().front()); }
    std::uint32_t word(std::uint32_t at) const { return load<std::uint32_t>(&registers_[at]); }
    void set_word(std::uint32_t at, std::uint32_t value) { store(&registers_[at], value); }
    std::uint8_t read_byte(std::uint32_t at);
    void write_byte(std::uint32_t at, std::uint8_t value);
    void update_interrupt();
    void dma_interrupt(std::uint8_t bits);
    void scsi_interrupt(std::uint8_t first, std::uint8_t second);
    void start();
    void run(sim::Co& co, std::uint64_t since);
    // One instruction. False: the program ends here.
    bool step(sim::Co& co);
    bool move(sim::Co& co, std::uint32_t first, std::uint32_t address);
    bool select(std::uint32_t first);
    bool transfer_control(std::uint32_t first, std::uint32_t address);
    void execute(sim::Co& co);
    ScsiDevice* unit_on_bus() const;
    void cancel();
    void reset_units();

    std::array<std::byte, register_count> registers_{};
    bool running_ = false;  // a program of this epoch
    std::uint64_t epoch_ = 0, fibers_ = 0;
    lsi::Phase phase_ = lsi::bus_free;
    // The command on the bus.
    std::uint32_t target_ = 0, lun_ = 0;
    ScsiRequest request_;
    std::array<scsi::Sense, 16> senses_{};  // by target
    std::vector<std::byte> data_;
    std::size_t data_at_ = 0;
    sim::WaitQueue idle_{"lsi program"}, resumed_{"machine runs again"};
};

Status Lsi::realize(sim::Co&) {
    TRY(join_bus());
    add_bar(0, BarKind::io, 256);
    add_bar(lsi::register_bar, BarKind::memory32, 1024);
    add_bar(2, BarKind::memory32, 8192);
    const std::string name =
        id().empty() ? fmt::format("scsi.{}", machine().next_bus_number("scsi")) : id() + ".0";
    ScsiHost& adapter = *this;
    add_bus(std::make_unique<ScsiBus>(
        name, this, adapter,
        ScsiLimits{.channel_max = 0, .target_max = targets_max, .lun_max = 0}));
    reset();
    announce();
    return {};
}

void Lsi::unrealize(sim::Co& co) {
    leave_bus();
    cancel();
    while (fibers_ > 0) idle_.wait(co);
    drop_buses();
}

void Lsi::cancel() {
    ++epoch_;
    running_ = running_ && sim::mutant<"lsi: a program that follows a reset is lost">();
    phase_ = lsi::bus_free;
    resumed_.wake_all();
}

void Lsi::reset_units() {
    for (Device* device : scsi_bus().devices()) device->reset();
}

void Lsi::reset() {
    cancel();
    registers_ = {};
    registers_[lsi::dstat] = std::byte{lsi::dstat_empty};
    update_interrupt();
}

// ---- registers ---------------------------------------------------------------------------------

void Lsi::update_interrupt() {
    const auto bits = [&](std::uint32_t at, std::uint32_t mask) {
        return (registers_[at] & registers_[mask]) != std::byte{0};
    };
    const bool dma = (registers_[lsi::dstat] & std::byte{0x7f}) != std::byte{0};
    const bool scsi =
        registers_[lsi::sist0] != std::byte{0} || registers_[lsi::sist1] != std::byte{0};
    std::byte& state = registers_[lsi::istat0];
    state &= std::byte{0xfc};
    if (dma) state |= std::byte{lsi::istat_dma};
    if (scsi) state |= std::byte{lsi::istat_scsi};
    set_intx((dma && bits(lsi::dstat, lsi::dien)) || bits(lsi::sist0, lsi::sien0) ||
             bits(lsi::sist1, lsi::sien1));
}

void Lsi::dma_interrupt(std::uint8_t bits) {
    registers_[lsi::dstat] |= std::byte{bits};
    update_interrupt();
}

void Lsi::scsi_interrupt(std::uint8_t first, std::uint8_t second) {
    registers_[lsi::sist0] |= std::byte{first};
    registers_[lsi::sist1] |= std::byte{second};
    update_interrupt();
}

std::uint8_t Lsi::read_byte(std::uint32_t at) {
    if (at >= register_count) return 0;
    if (at == lsi::sbcl) return phase_ == lsi::bus_free ? 0 : static_cast<std::uint8_t>(phase_);
    const auto value = std::to_integer<std::uint8_t>(registers_[at]);
    // Causes are cleared by reading them.
    if (at == lsi::dstat) registers_[at] = std::byte{lsi::dstat_empty};
    if (at == lsi::sist0 || at == lsi::sist1) registers_[at] = std::byte{0};
    if (at == lsi::dstat || at == lsi::sist0 || at == lsi::sist1) update_interrupt();
    return value;
}

void Lsi::write_byte(std::uint32_t at, std::uint8_t value) {
    if (at >= register_count) return;
    switch (at) {
    case lsi::dstat:
    case lsi::sist0:
    case lsi::sist1:
    case lsi::sbcl: return;
    case lsi::istat0:
        if ((value & lsi::istat_reset) == 0) return;
        reset();
        reset_units();
        return;
    case lsi::scntl1:
        if ((value & lsi::scntl1_reset) != 0) {
            cancel();
            reset_units();
            scsi_interrupt(lsi::sist0_reset, 0);
        }
        break;
    default: break;
    }
    registers_[at] = std::byte{value};
    if (at == lsi::dsp + 3) start();  // the last byte of the program's address
    if (at == lsi::dien || at == lsi::sien0 || at == lsi::sien1) update_interrupt();
}

std::uint64_t Lsi::bar_read(std::uint32_t bar, std::uint64_t offset, std::uint32_t size) {
    if (bar > lsi::register_bar) return 0;
    std::uint64_t value = 0;
    for (std::uint32_t i = 0; i < size; ++i)
        value |= std::uint64_t{read_byte(static_cast<std::uint32_t>(offset & 0xff) + i)} << (8 * i);
    return value;
}

void Lsi::bar_write(std::uint32_t bar, std::uint64_t offset, std::uint32_t size,
                    std::uint64_t value) {
    if (bar > lsi::register_bar) return;
    for (std::uint32_t i = 0; i < size; ++i)
        write_byte(static_cast<std::uint32_t>(offset & 0xff) + i,
                   static_cast<std::uint8_t>(value >> (8 * i)));
}

// ---- programs ----------------------------------------------------------------------------------

void Lsi::start() {
    if (running_) return;
    running_ = true;
    ++fibers_;
    machine().world().spawn(thread(), "lsi program", [this, since = epoch_](sim::Co& co) {
        run(co, since);
        if (since == epoch_) running_ = false;
        if (--fibers_ == 0) idle_.wake_all();
    });
}

void Lsi::run(sim::Co& co, std::uint64_t since) {
    for (int steps = 0; since == epoch_; ++steps) {
        while (!machine().running() && since == epoch_) resumed_.wait(co);
        if (since != epoch_) return;
        if (steps == steps_max) {  // a program that only turns round
            dma_interrupt(lsi::dstat_aborted);
            return;
        }
        if (!step(co)) return;
    }
}

bool Lsi::step(sim::Co& co) {
    const std::uint32_t at = word(lsi::dsp);
    std::uint32_t first = 0, address = 0;
    if (!machine().memory().read(at, first) || !machine().memory().read(at + 4, address)) {
        dma_interrupt(lsi::dstat_illegal);
        return false;
    }
    set_word(lsi::dsp, at + 8);
    set_word(lsi::dsps, address);
    set_word(lsi::dbc, first);
    switch (first >> 30) {
    case 0: return move(co, first, address);
    case 1:
        if ((first & 0xf800'0000) == (lsi::op_select_attention & 0xf800'0000)) return select(first);
        if ((first & 0xf800'0000) == lsi::op_wait_disconnect) {
            phase_ = lsi::bus_free;
            return true;
        }
        break;
    case 2: return transfer_control(first, address);
    default: break;
    }
    dma_interrupt(lsi::dstat_illegal);
    return false;
}

bool Lsi::select(std::uint32_t first) {
    target_ = first >> 16 & 15;
    if (scsi_bus().find_target(0, target_) == nullptr) {
        scsi_interrupt(0, lsi::sist1_timeout);
        return false;
    }
    request_ = ScsiRequest();
    lun_ = 0;
    data_.clear();
    data_at_ = 0;
    phase_ = lsi::message_out;
    return true;
}

bool Lsi::transfer_control(std::uint32_t first, std::uint32_t address) {
    bool holds = true;
    if ((first & lsi::compare_phase) != 0)
        holds = phase_ == static_cast<lsi::Phase>(first >> 24 & 7);
    if (holds != ((first & lsi::when_true) != 0)) return true;
    switch (first >> 27 & 7) {
    case 0: set_word(lsi::dsp, address); return true;
    case 1:
        set_word(lsi::temp, word(lsi::dsp));
        set_word(lsi::dsp, address);
        return true;
    case 2: set_word(lsi::dsp, word(lsi::temp)); return true;
    case 3: dma_interrupt(lsi::dstat_interrupt); return false;
    default: dma_interrupt(lsi::dstat_illegal); return false;
    }
}

ScsiDevice* Lsi::unit_on_bus() const {
    ScsiDevice* unit = scsi_bus().find(0, target_, lun_);
    return unit != nullptr ? unit : scsi_bus().find_target(0, target_);
}

// What the target does between its command and its status.
void Lsi::execute(sim::Co& co) {
    const std::uint64_t since = epoch_;
    ScsiDevice* unit = unit_on_bus();
    while (unit != nullptr && unit->has_aborted() &&
           !sim::mutant<"lsi: commands overtake what was reset">()) {
        unit->wait_aborted(co);
        if (since != epoch_) return;
        unit = unit_on_bus();
    }
    if (unit == nullptr) {
        phase_ = lsi::bus_free;
        return;
    }
    // Of its own: a reset may begin another command before this one is over.
    ScsiRequest request = request_;
    std::vector<std::byte> data = std::move(data_);
    const scsi::Transfer transfer = scsi::transfer_of(request.cdb, unit->block_bytes());
    (transfer.to_device ? request.to_device : request.from_device) =
        sim::IoView(std::span<std::byte>(data));
    // What the last command failed with is asked for by a command of its own here.
    const scsi::Sense last = std::exchange(senses_[target_], scsi::no_sense);
    if (request.op() == scsi::request_sense && last != scsi::no_sense) {
        const auto bytes = scsi::fixed_sense(last);
        request.reply(bytes.data(), bytes.size(), data.size());
    } else {
        unit->execute(co, request);
    }
    if (since != epoch_) return;
    if (request.status == scsi::check_condition) senses_[target_] = request.sense;
    request_.status = request.status;
    data_ = std::move(data);
    data_at_ = 0;
    const bool gives =
        !transfer.to_device && request.transferred > 0 && request.status == scsi::good;
    data_.resize(gives ? request.transferred : 0);
    phase_ = gives ? lsi::data_in : lsi::status;
}

bool Lsi::move(sim::Co& co, std::uint32_t first, std::uint32_t address) {
    const std::uint32_t length = first & 0xff'ffff;
    if (phase_ != static_cast<lsi::Phase>(first >> 24 & 7)) {
        scsi_interrupt(lsi::sist0_mismatch, 0);
        return false;
    }
    std::byte* memory = machine().memory().span(address, length);
    if (memory == nullptr || length == 0) {
        dma_interrupt(lsi::dstat_illegal);
        return false;
    }
    const auto left = [&](std::size_t moved) {
        set_word(lsi::dbc, (first & 0xff00'0000) | (length - static_cast<std::uint32_t>(moved)));
        set_word(lsi::dnad, address + static_cast<std::uint32_t>(moved));
    };
    switch (phase_) {
    case lsi::message_out:
        request_.lun = static_cast<std::uint16_t>(std::to_integer<unsigned>(memory[0]) & 7);
        lun_ = request_.lun;
        phase_ = lsi::command;
        return true;
    case lsi::command: {
        std::memcpy(request_.cdb.data(), memory, std::min<std::size_t>(length, 16));
        const ScsiDevice* unit = scsi_bus().find_target(0, target_);
        const std::uint32_t block = unit != nullptr ? unit->block_bytes() : 512;
        const scsi::Transfer transfer = scsi::transfer_of(request_.cdb, block);
        data_.assign(std::min(transfer.bytes, data_bytes_max), std::byte{0});
        if (transfer.to_device && !data_.empty())
            phase_ = lsi::data_out;
        else
            execute(co);
        return true;
    }
    case lsi::data_out:
    case lsi::data_in: {
        const std::size_t part = std::min<std::size_t>(length, data_.size() - data_at_);
        if (phase_ == lsi::data_out)
            std::memcpy(data_.data() + data_at_, memory, part);
        else
            std::memcpy(memory, data_.data() + data_at_, part);
        data_at_ += part;
        left(part);
        if (data_at_ == data_.size()) {
            const std::uint64_t since = epoch_;
            if (phase_ == lsi::data_out)
                execute(co);
            else
                phase_ = lsi::status;
            if (since != epoch_) return false;
        }
        if (part == length) return true;
        scsi_interrupt(lsi::sist0_mismatch, 0);  // the target is done before the program is
        return false;
    }
    case lsi::status:
        memory[0] = std::byte{request_.status};
        phase_ = lsi::message_in;
        return true;
    case lsi::message_in:
        memory[0] = std::byte{message_complete};
        registers_[lsi::sfbr] = memory[0];
        phase_ = lsi::bus_free;
        return true;
    case lsi::bus_free: break;
    }
    return false;
}

const DeviceRegistration registration({
    .name = "lsi53c895a",
    .bus = "PCI",
    .properties = pci_properties(),
    .make = [](Machine& machine, const DeviceSpec& spec) -> std::unique_ptr<Device> {
        const PciIds ids{0x1000, 0x0012, 0, 0x1000, 0, 0x010000, true};
        return std::make_unique<Lsi>(machine, spec, ids);
    },
    .source = "LSI53C895A Technical Manual",
});

}  // namespace
}  // namespace hwmodels
