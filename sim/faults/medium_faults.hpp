// SPDX-License-Identifier: Apache-2.0
// MediumFaults: what may go wrong with the operations of one file, at the schedule's choice.
//
// Every operation asks one site per armed kind that concerns it; a site's name is the file's, what
// is done and what goes wrong ("disk.qcow2: write fails"), the same in every run.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "sim/errno.hpp"
#include "sim/host_op.hpp"
#include "sim/label.hpp"
#include "sim/time.hpp"
#include "sim/wait_queue.hpp"

namespace sim {

class Co;
class World;

enum class MediumFault : std::uint8_t {
    error,     // "fails": EIO, nothing is done
    no_space,  // "finds no space": ENOSPC, nothing is done (write, write zeroes)
    torn,      // "is torn": EIO, some first sectors are written (write)
    slow,      // "is slow": waits before it takes effect
    late,      // "is told late": waits after it took effect
    lost,      // "is never told": took effect, and whoever asked waits until a power cut
    lies,      // "lies": a flush that succeeds and makes nothing durable
};
constexpr std::size_t medium_faults = 7;
// "error", "no-space", "torn", "slow", "late", "lost", "lies"
std::string_view name_of(MediumFault fault);
std::optional<MediumFault> medium_fault_named(std::string_view name);

class MediumFaults {
public:
    explicit MediumFaults(std::string path) : path_(std::move(path)) {}

    void arm(MediumFault fault);
    void disarm_all();  // delivers what was lost
    void set_wait(Duration wait) { wait_ = wait; }

    // Before the operation takes effect; may suspend. errors: io, no_space
    IoStatus before(Co& co, HostOp op);
    // How many of the sectors of a write are written before it fails; nothing: it is not torn.
    std::optional<std::uint64_t> torn(World& world, std::uint64_t sectors);
    bool flush_lies(World& world) { return strikes(world, MediumFault::lies, HostOp::flush); }
    // After it took effect; may suspend.
    void after(Co& co, HostOp op);
    void deliver_lost() { lost_.wake_all(); }

private:
    static constexpr std::size_t operations = 6;
    bool strikes(World& world, MediumFault fault, HostOp op);

    std::string path_;
    Duration wait_ = milliseconds(100);
    // Names of the armed sites; no name: the kind is not armed or does not concern the operation.
    std::array<std::array<std::optional<Label>, operations>, medium_faults> sites_;
    WaitQueue lost_{"completion that is never told"};
};

}  // namespace sim
