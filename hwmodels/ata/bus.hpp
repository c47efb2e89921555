// SPDX-License-Identifier: Apache-2.0
// AtaBus and AtaHost: the cable with up to two drives, and the adapter it is plugged into.
//
// source  ATA/ATAPI-7.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "hwmodels/qdev/device.hpp"
#include "sim/co.hpp"
#include "sim/io_view.hpp"

namespace sim {
class Thread;
}

namespace hwmodels {

class AtaBus;
class AtaDrive;

class AtaHost {
public:
    virtual ~AtaHost() = default;
    virtual sim::Thread& thread() const = 0;
    // The drive wants attention: its command is over, or it has or wants data.
    virtual void interrupt(AtaDrive& drive) = 0;
    // Moves data of a command the processor moves itself. False: the command was cancelled.
    virtual bool move(sim::Co& co, AtaDrive& drive, std::span<std::byte> bytes, bool to_host) = 0;
    // The guest's memory for the next bytes of a transfer; may wait until the guest names it. Fewer
    // bytes than asked for: the guest's list is that short. False: cancelled.
    virtual bool map(sim::Co& co, AtaDrive& drive, std::uint64_t bytes,
                     std::vector<sim::IoVec>& list) = 0;
    virtual void moved(AtaDrive& drive, std::uint64_t bytes) = 0;
    virtual void command_ended(AtaDrive& drive) = 0;
    virtual void reset_ended(AtaDrive& drive) = 0;
    // What a cancelled command had under way is over: the drive takes commands again.
    virtual void idle(AtaDrive& /*drive*/) {}
    // A command that may wait in map() is to come back.
    virtual void cancelled(AtaDrive& drive) = 0;
};

class AtaBus final : public Bus {
public:
    AtaBus(std::string name, Device* owner, AtaHost& host, std::uint32_t units)
        : Bus(std::move(name), "IDE", owner), host_(host), units_(units) {}

    bool hotpluggable() const override { return false; }
    AtaHost& host() const { return host_; }
    std::uint32_t units() const { return units_; }
    AtaDrive* drive(std::uint32_t unit) const;
    bool full() const override { return devices().size() >= units_; }

private:
    AtaHost& host_;
    std::uint32_t units_;
};

}  // namespace hwmodels
