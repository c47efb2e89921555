// SPDX-License-Identifier: Apache-2.0
// AhciPort: a guest operating system's driver for one port of an AHCI adapter, one command at a
// time.
//
// source  Serial ATA AHCI 1.3.1.
#pragma once
#include <cstdint>
#include <memory>

#include "hwmodels/guest/ide.hpp"

namespace hwmodels::guest {

class AhciPort final : public AtaChannel {
public:
    // The driver of the port that this drive is on; started when there is none yet.
    static std::shared_ptr<AhciPort> of(Machine& machine, const Device& drive);
    AhciPort(Machine& machine, PciFunction& function, std::uint32_t port);
    ~AhciPort() override;

    Machine& machine() const override { return machine_; }
    sim::IoStatus run(sim::Co& co, std::uint32_t unit, AtaCommand& command) override;
    sim::IoStatus identify(sim::Co& co, std::uint32_t unit, std::uint8_t command,
                           std::span<std::byte> words) override;
    sim::IoStatus packet(sim::Co& co, std::uint32_t unit, ScsiCommand& command) override;
    void adapter_removed() override {
        gone_ = true;
        interrupt_.wake_all();
    }
    // Resets the port under its command, which ends with Errno::canceled.
    sim::IoStatus reset(sim::Co& co);

private:
    struct Shape {
        bool write = false;
        const ScsiCommand* packet = nullptr;
    };
    void write(std::uint32_t reg, std::uint32_t value);
    std::uint32_t read(std::uint32_t reg) const;
    void restart();
    sim::IoStatus wait_ready(sim::Co& co);
    sim::IoStatus issue(sim::Co& co, AtaCommand& command, const Shape& shape);

    Machine& machine_;
    std::uint64_t registers_ = 0, handler_ = 0, resets_ = 0;
    std::uint32_t line_ = 0, causes_ = 0;
    bool gone_ = false, resetting_ = false;
    GuestAddress area_ = 0;  // the command list, the received registers, one command's table
    sim::WaitQueue interrupt_{"ahci interrupt"};
    sim::Mutex one_at_a_time_{"ahci port"};
};

}  // namespace hwmodels::guest
