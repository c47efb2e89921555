// SPDX-License-Identifier: Apache-2.0
// IdeChannel: a guest operating system's driver for one channel of the pc's IDE controller.
//
// One command at a time on the channel, whichever of its two drives it is for. Data goes by bus
// master where a command can, else through the data register.
//
// source  ATA/ATAPI-7; Programming Interface for Bus Master IDE 1.0.
#pragma once
#include <cstdint>
#include <memory>
#include <span>

#include "hwmodels/guest/scsi.hpp"
#include "sim/sync.hpp"

namespace hwmodels::guest {

struct AtaCommand {
    std::uint8_t command = 0, features = 0;
    std::uint64_t lba = 0;
    std::uint32_t count = 0;
    bool wide = false;  // 48-bit
    // Memory for bus-master commands; length 0: no data.
    GuestAddress data = 0;
    std::uint32_t length = 0;
    bool to_memory = false;
    std::uint8_t error = 0;  // the drive's error register, after a failure
};

// Whatever carries commands to drives.
class AtaChannel {
public:
    virtual ~AtaChannel() = default;
    virtual Machine& machine() const = 0;
    // errors: io: the drive reported one; canceled: the channel was reset; no_medium: its adapter
    // is gone.
    virtual sim::IoStatus run(sim::Co& co, std::uint32_t unit, AtaCommand& command) = 0;
    virtual sim::IoStatus identify(sim::Co& co, std::uint32_t unit, std::uint8_t command,
                                   std::span<std::byte> words) = 0;
    virtual sim::IoStatus packet(sim::Co& co, std::uint32_t unit, ScsiCommand& command) = 0;
    // The adapter was taken out, or lost power, under its commands.
    virtual void adapter_removed() {}
};

// The disk or packet device of a channel.
blocklayer::Result<std::unique_ptr<GuestDisk>> open_drive(sim::Co& co,
                                                          std::shared_ptr<AtaChannel> channel,
                                                          std::uint32_t unit);

class IdeChannel final : public AtaChannel {
public:
    static std::shared_ptr<IdeChannel> of(Machine& machine, std::uint32_t channel);
    ~IdeChannel() override;

    Machine& machine() const override { return machine_; }
    sim::IoStatus run(sim::Co& co, std::uint32_t unit, AtaCommand& command) override;
    sim::IoStatus identify(sim::Co& co, std::uint32_t unit, std::uint8_t command,
                           std::span<std::byte> words) override;
    sim::IoStatus packet(sim::Co& co, std::uint32_t unit, ScsiCommand& command) override;
    void adapter_removed() override;
    // Resets both drives under their commands, which end with Errno::canceled.
    sim::IoStatus reset(sim::Co& co);

private:
    IdeChannel(Machine& machine, std::uint32_t channel);
    void out(unsigned reg, std::uint8_t value);
    std::uint8_t in(unsigned reg);
    void select(std::uint32_t unit, std::uint8_t bits);
    // Until the drive interrupts. errors: canceled.
    sim::IoStatus wait_interrupt(sim::Co& co);
    // Until the drive takes a command from the channel's holder, who asked for the channel when the
    // adapter had been removed so often. errors: no_medium; canceled.
    sim::IoStatus begin(sim::Co& co, std::uint32_t unit, std::uint64_t removals);
    void prepare_table(GuestAddress data, std::uint32_t length, bool to_memory);
    sim::IoStatus packet_phases(sim::Co& co, ScsiCommand& command);

    Machine& machine_;
    std::uint32_t channel_;
    std::uint64_t handler_ = 0, resets_ = 0, removals_ = 0;
    GuestAddress table_ = 0;
    std::uint64_t bus_master_ = 0;
    std::uint8_t status_ = 0;
    bool interrupted_ = false, resetting_ = false;
    sim::WaitQueue interrupt_{"ide interrupt"};
    sim::Mutex one_at_a_time_{"ide channel"};
};

}  // namespace hwmodels::guest
