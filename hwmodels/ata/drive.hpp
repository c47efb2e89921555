// SPDX-License-Identifier: Apache-2.0
// AtaDrive: the task file and the life of commands, for disks and packet devices.
//
// A command runs in a fiber from the write of its register to its interrupt. A reset cannot take
// its I/O back: it cancels the command first, and the registers get their values after power on
// when that I/O is over; until then the drive is busy.
//
// source     ATA/ATAPI-7.
// invariant  a cancelled command touches neither registers nor guest memory again
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "hwmodels/ata/bus.hpp"
#include "hwmodels/ata/wire.hpp"
#include "hwmodels/qdev/block_properties.hpp"
#include "sim/sync.hpp"

namespace hwmodels {

// What hd and cd both have, beside the block properties.
std::vector<PropertySpec> ata_properties();

class AtaDrive : public Device {
public:
    AtaDrive(Machine& machine, const DeviceSpec& spec) : Device(machine, spec), drive_(*this) {}

    AtaBus& ata_bus() const { return static_cast<AtaBus&>(*bus()); }
    std::uint32_t unit = 0;
    bool placed = false;

    // ---- what the host adapter does ----
    std::uint8_t read(unsigned reg) const;
    std::uint8_t status() const { return status_; }
    // Writes of the task file; of the command register while busy or asking for data: dropped.
    void write(unsigned reg, std::uint8_t value);
    void start(std::uint8_t command);
    // The data register, two bytes at a time.
    std::uint16_t read_data();
    void write_data(std::uint16_t value);
    // Cancels what runs, then restores the registers.
    void reset() override;
    // Cancels only: the adapter stopped its engine.
    void cancel();
    // True while the command that runs now has not been cancelled.
    bool alive() const { return epoch_ == running_epoch_; }
    bool in_flight() const { return in_flight_ > 0; }
    // Waits for the processor to move the data through the data register.
    bool move_by_register(sim::Co& co, std::span<std::byte> bytes, bool to_host);
    virtual std::uint32_t signature() const = 0;

    // ---- Device ----
    blocklayer::Status realize(sim::Co& co) override;
    void unrealize(sim::Co& co) override;
    void run_state_changed(bool running) override;

protected:
    virtual blocklayer::Status realize_drive(sim::Co& co) = 0;
    virtual void unrealize_drive(sim::Co& co) = 0;
    virtual void run(sim::Co& co, std::uint8_t command) = 0;
    virtual void drive_reset() {}

    AtaHost& host() const { return ata_bus().host(); }
    void succeed(std::uint8_t status = ata::status_ready | ata::status_seek);
    void fail(std::uint8_t error = ata::error_aborted);
    // The guest's policy for a failed request; stop: waits for the machine. False: cancelled.
    bool retry_after(sim::Co& co, bool is_read, sim::Errno error, bool& ignored);
    bool move(sim::Co& co, std::span<std::byte> bytes, bool to_host);

    Drive drive_;
    struct TaskFile {
        std::uint8_t features = 0, count = 0, lba[3] = {}, device = 0;
    };
    TaskFile now_, before_;  // the last value written and the one before it, for 48-bit commands
    std::uint8_t status_ = 0, error_ = 0;

private:
    void restore_registers();
    void end_command();

    std::span<std::byte> window_;  // what the data register reaches now
    std::size_t window_at_ = 0;
    bool window_to_host_ = false;
    std::uint64_t epoch_ = 0, running_epoch_ = 0;
    std::uint64_t in_flight_ = 0;
    bool resetting_ = false;
    sim::WaitQueue data_moved_{"data register"}, retry_{"machine runs again"},
        idle_{"drive's commands"};
};

}  // namespace hwmodels
