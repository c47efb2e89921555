// SPDX-License-Identifier: Apache-2.0
#include "sim/faults/medium_faults.hpp"

#include <fmt/format.h>

#include "sim/world.hpp"

namespace sim {
namespace {

constexpr std::array<std::string_view, medium_faults> names{"error", "no-space", "torn", "slow",
                                                            "late",  "lost",     "lies"};
constexpr std::array<std::string_view, medium_faults> verbs{
    "fails", "finds no space", "is torn", "is slow", "is told late", "is never told", "lies"};
constexpr std::array<std::string_view, 6> operation_names{"read",    "write", "write zeroes",
                                                          "discard", "flush", "truncate"};

bool concerns(MediumFault fault, HostOp op) {
    switch (fault) {
    case MediumFault::no_space: return op == HostOp::write || op == HostOp::write_zeroes;
    case MediumFault::torn: return op == HostOp::write;
    case MediumFault::lies: return op == HostOp::flush;
    case MediumFault::error:
    case MediumFault::slow:
    case MediumFault::late:
    case MediumFault::lost: return true;
    }
    return false;
}

}  // namespace

std::string_view name_of(MediumFault fault) { return names[static_cast<std::size_t>(fault)]; }

std::optional<MediumFault> medium_fault_named(std::string_view name) {
    for (std::size_t i = 0; i < medium_faults; ++i)
        if (names[i] == name) return static_cast<MediumFault>(i);
    return std::nullopt;
}

void MediumFaults::arm(MediumFault fault) {
    const auto kind = static_cast<std::size_t>(fault);
    for (std::size_t op = 0; op < operations; ++op)
        if (concerns(fault, static_cast<HostOp>(op)))
            sites_[kind][op] = Label::interned(
                fmt::format("{}: {} {}", path_, operation_names[op], verbs[kind]));
}

void MediumFaults::disarm_all() {
    sites_ = {};
    deliver_lost();
}

bool MediumFaults::strikes(World& world, MediumFault fault, HostOp op) {
    const auto& site = sites_[static_cast<std::size_t>(fault)][static_cast<std::size_t>(op)];
    return site && world.fault(2, *site) != 0;
}

IoStatus MediumFaults::before(Co& co, HostOp op) {
    if (strikes(co.world(), MediumFault::slow, op)) co.sleep(wait_);
    if (strikes(co.world(), MediumFault::error, op)) return Unexpected(Errno::io);
    if (strikes(co.world(), MediumFault::no_space, op)) return Unexpected(Errno::no_space);
    return {};
}

std::optional<std::uint64_t> MediumFaults::torn(World& world, std::uint64_t sectors) {
    if (sectors == 0 || !strikes(world, MediumFault::torn, HostOp::write)) return std::nullopt;
    constexpr std::uint64_t answers_max = 64;
    const std::uint64_t step = (sectors + answers_max - 1) / answers_max;
    const auto answers = static_cast<std::uint32_t>((sectors + step - 1) / step);
    return step * world.choose(answers, "sectors written of a torn write");
}

void MediumFaults::after(Co& co, HostOp op) {
    if (strikes(co.world(), MediumFault::late, op)) co.sleep(wait_);
    if (strikes(co.world(), MediumFault::lost, op)) lost_.wait(co);
}

}  // namespace sim
