// SPDX-License-Identifier: Apache-2.0
// Interrupts: message-signalled vectors and level lines, from devices to the guest's handlers.
//
// A handler runs as an event of its own on the virtual CPU; a vector that is raised again before
// its handler ran is one interrupt, as on real hardware. While the CPUs are stopped interrupts stay
// pending.
//
// invariant  a handler never runs inside the call that raised its interrupt
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "sim/world.hpp"

namespace hwmodels {

struct MsiMessage {  // what a device writes where, to raise a vector
    std::uint64_t address = 0;
    std::uint32_t data = 0;
};

class Interrupts {
public:
    static constexpr std::uint64_t msi_base = 0xfee0'0000;
    static constexpr std::uint32_t lines_max = 24;

    Interrupts(sim::World& world, sim::Thread& cpu);
    Interrupts(const Interrupts&) = delete;
    Interrupts& operator=(const Interrupts&) = delete;

    // Guest side: a vector with its handler, which runs there; nullptr as handler: taken but
    // ignored.
    MsiMessage allocate_vector(std::function<void()> handler, sim::Place place = {});
    void free_vector(const MsiMessage& message);
    // Handlers of a level line run as long as it is high after the last of them returned.
    std::uint64_t add_line_handler(std::uint32_t line, std::function<void()> handler);
    void remove_line_handler(std::uint32_t line, std::uint64_t handle);

    // Device side. A message to no vector is dropped, as the host bridge does with stray writes.
    void deliver(const MsiMessage& message);
    // Lines are shared: each device says whether it holds the line high.
    void set_line(std::uint32_t line, std::uint64_t device, bool high);

    void set_running(bool running);

private:
    struct Vector {
        Vector(Interrupts& owner, std::uint32_t number);
        std::function<void()> handler;
        sim::Timer event;
        bool used = false, pending = false;
    };
    struct Line {
        Line(Interrupts& owner, std::uint32_t number);
        std::vector<std::pair<std::uint64_t, std::function<void()>>> handlers;
        std::vector<std::uint64_t> high;  // devices that hold it
        sim::Timer event;
    };
    void run_vector(std::uint32_t number);
    void run_line(std::uint32_t number);

    sim::World& world_;
    sim::Thread& cpu_;
    std::vector<std::unique_ptr<Vector>> vectors_;
    std::vector<std::unique_ptr<Line>> lines_;
    std::uint64_t next_handle_ = 1;
    bool running_ = false;
};

}  // namespace hwmodels
