// SPDX-License-Identifier: Apache-2.0
// A guest operating system's driver for the LSI53C895A: one program, patched for each command.
//
// source  LSI53C895A Technical Manual.
#include <any>
#include <array>
#include <cstring>
#include <map>

#include "blocklayer/layer.hpp"
#include "hwmodels/guest/bounce.hpp"
#include "hwmodels/guest/open_disk.hpp"
#include "hwmodels/guest/scsi.hpp"
#include "hwmodels/scsi/bus.hpp"
#include "hwmodels/scsi/lsi.hpp"
#include "sim/check.hpp"
#include "sim/sync.hpp"

namespace hwmodels::guest {
namespace {

using blocklayer::failure;
using blocklayer::Result;
using sim::Errno;
using sim::IoStatus;
using sim::Unexpected;

// The driver's memory: message, command block, status and message bytes, then the program.
constexpr std::uint64_t area_bytes = 512, message_at = 0, command_at = 16, status_at = 32,
                        message_in_at = 33, program_at = 64;
constexpr std::uint8_t identify = 0x80;
constexpr std::uint32_t finished = 0x600d;

class LsiDriver {
public:
    LsiDriver(Machine& machine, PciFunction& function)
        : machine_(machine), area_(heap_of(machine).take(area_bytes)) {
        EXPECTS(area_ != 0);
        machine.pci().assign_addresses();
        registers_ = function.bar_address(lsi::register_bar);
        line_ = function.intx_line();
        handler_ = machine.interrupts().add_line_handler(line_, [this] { on_interrupt(); });
        enable_interrupts();
    }
    LsiDriver(const LsiDriver&) = delete;
    LsiDriver& operator=(const LsiDriver&) = delete;
    ~LsiDriver() {
        machine_.interrupts().remove_line_handler(line_, handler_);
        heap_of(machine_).give_back(area_);
    }

    Machine& machine() const { return machine_; }
    bool gone = false;
    std::uint64_t paths = 0;

    IoStatus execute(sim::Co& co, ScsiCommand& command, std::uint32_t target, std::uint32_t lun) {
        const sim::MutexLock lock(co, one_at_a_time_);
        machine_.wait_running(co);
        if (gone) return Unexpected(Errno::no_medium);
        write_program(command, target, lun);
        causes_ = 0;
        interrupted_ = false;
        const std::uint64_t resets = resets_;
        const std::byte* bytes = machine_.memory().span(area_, area_bytes);
        write(lsi::dsp, 4, area_ + program_at);
        while (true) {
            while (!interrupted_ && !gone && resets == resets_) interrupt_.wait(co);
            if (gone) return Unexpected(Errno::no_medium);
            if (resets != resets_) return Unexpected(Errno::canceled);
            interrupted_ = false;
            const std::uint32_t causes = std::exchange(causes_, 0U);
            if ((causes & std::uint32_t{lsi::sist1_timeout} << 16) != 0)
                return Unexpected(Errno::no_medium);
            if ((causes & std::uint32_t{lsi::sist0_mismatch} << 8) == 0) break;
            // Less data than was asked for: the rest of the program takes the status.
            command.residual = read(lsi::dbc, 4) & 0xff'ffff;
            write(lsi::dsp, 4, area_ + status_program_);
        }
        if (read(lsi::dsps, 4) != finished) return Unexpected(Errno::io);
        command.status = load<std::uint8_t>(bytes + status_at);
        return {};
    }
    // The command on the bus ends with Errno::canceled.
    void reset(bool whole_adapter) {
        if (whole_adapter) {
            write(lsi::istat0, 1, lsi::istat_reset);
            enable_interrupts();
        } else {
            write(lsi::scntl1, 1, lsi::scntl1_reset);
            write(lsi::scntl1, 1, 0);
        }
        // What was to be told is of what was before.
        for (const std::uint32_t causes : {lsi::dstat, lsi::sist0, lsi::sist1})
            (void)read(causes, 1);
        ++resets_;
        wake();
    }
    void wake() { interrupt_.wake_all(); }

private:
    void enable_interrupts() {
        write(lsi::dien, 1, 0x7f);
        write(lsi::sien0, 1, 0xff);
        write(lsi::sien1, 1, 0xff);
    }
    void write(std::uint32_t at, std::uint32_t size, std::uint64_t value) {
        machine_.pci().memory_write(registers_ + at, size, value);
    }
    std::uint32_t read(std::uint32_t at, std::uint32_t size) {
        return static_cast<std::uint32_t>(machine_.pci().memory_read(registers_ + at, size));
    }
    void on_interrupt() {
        if (gone) return;
        const std::uint32_t state = read(lsi::istat0, 1);
        if ((state & (lsi::istat_dma | lsi::istat_scsi)) == 0) return;
        causes_ |= read(lsi::dstat, 1) & 0x7f;
        causes_ |= read(lsi::sist0, 1) << 8;
        causes_ |= read(lsi::sist1, 1) << 16;
        interrupted_ = true;
        interrupt_.wake_all();
    }

    void write_program(const ScsiCommand& command, std::uint32_t target, std::uint32_t lun) {
        std::byte* bytes = machine_.memory().span(area_, area_bytes);
        bytes[message_at] = static_cast<std::byte>(identify | lun);
        std::memcpy(bytes + command_at, command.cdb.data(), command.cdb.size());
        std::uint64_t at = program_at;
        const auto put = [&](std::uint32_t first, std::uint64_t second) {
            store(bytes + at, first);
            store(bytes + at + 4, static_cast<std::uint32_t>(second));
            at += 8;
        };
        const auto move = [&](lsi::Phase phase, std::uint64_t length, GuestAddress where) {
            put(lsi::op_move | phase << 24 | static_cast<std::uint32_t>(length), where);
        };
        put(lsi::op_select_attention | target << 16, 0);
        move(lsi::message_out, 1, area_ + message_at);
        move(lsi::command, command.cdb_bytes, area_ + command_at);
        // A failing command goes on to its status at once.
        const std::uint64_t jump = at;
        put(0, 0);
        if (command.length > 0 && command.direction != DataDirection::none)
            move(command.direction == DataDirection::to_device ? lsi::data_out : lsi::data_in,
                 command.length, command.data);
        status_program_ = at;
        store(bytes + jump, lsi::op_jump | lsi::when_true | lsi::compare_phase | lsi::status << 24);
        store(bytes + jump + 4, static_cast<std::uint32_t>(area_ + at));
        move(lsi::status, 1, area_ + status_at);
        move(lsi::message_in, 1, area_ + message_in_at);
        put(lsi::op_wait_disconnect, 0);
        put(lsi::op_interrupt | lsi::when_true, finished);
    }

    Machine& machine_;
    GuestAddress area_;
    std::uint64_t registers_ = 0, handler_ = 0, status_program_ = 0, resets_ = 0;
    std::uint32_t line_ = 0, causes_ = 0;
    bool interrupted_ = false;
    sim::WaitQueue interrupt_{"lsi interrupt"};
    sim::Mutex one_at_a_time_{"lsi adapter"};
};

class LsiPath final : public ScsiPath {
public:
    LsiPath(std::shared_ptr<LsiDriver> driver, std::uint32_t target, std::uint32_t lun)
        : driver_(std::move(driver)), target_(target), lun_(lun) {
        ++driver_->paths;
    }
    Machine& machine() const override { return driver_->machine(); }
    IoStatus execute(sim::Co& co, ScsiCommand& command) override {
        command.residual = 0;
        return execute_with_sense(machine(), command, [&](ScsiCommand& one) {
            return driver_->execute(co, one, target_, lun_);
        });
    }
    IoStatus reset(sim::Co& co, ScsiReset what) override {
        if (what == ScsiReset::tasks || what == ScsiReset::unit)
            return Unexpected(Errno::not_supported);
        machine().wait_running(co);
        if (driver_->gone) return Unexpected(Errno::no_medium);
        driver_->reset(what == ScsiReset::adapter);
        return {};
    }
    void shut_down(sim::Co&) override {
        if (--driver_->paths == 0) driver_->gone = true;
    }
    void surprise_removed() override {
        driver_->gone = true;
        driver_->wake();
    }

private:
    std::shared_ptr<LsiDriver> driver_;
    std::uint32_t target_, lun_;
};

using Drivers = std::map<int, std::weak_ptr<LsiDriver>>;

Result<std::unique_ptr<GuestDisk>> open_lsi(sim::Co& co, Machine& machine, Device& device) {
    const auto& unit = static_cast<const ScsiDevice&>(device);
    const std::uint32_t target = unit.target, lun = unit.lun;
    PciFunction& function = *pci_function_of(device);
    std::any& place = machine.layer().extensions["guest lsi adapters"];
    if (!place.has_value()) place = Drivers();
    auto& known = std::any_cast<Drivers&>(place)[function.devfn];
    auto driver = known.lock();
    if (driver == nullptr || driver->gone) {
        driver = std::make_shared<LsiDriver>(machine, function);
        known = driver;
    }
    return ScsiGuestDisk::attach(co, std::make_unique<LsiPath>(driver, target, lun));
}

const DiskDriverRegistration registration({.model = "lsi53c895a",
                                           .drives = Drives::disks_on_its_bus,
                                           .open = open_lsi});

}  // namespace
}  // namespace hwmodels::guest
