// SPDX-License-Identifier: Apache-2.0
// Reversals: which other orders a run asks for.
//
// Two steps of a run are in a race when they do not commute and nothing in between puts them in
// order. Only their other order leads anywhere new: it is reached from the moment of the first, by
// beginning with anything that the second needs and that the first is not needed for. One of those
// beginnings is enough.
//
// What orders steps: their runnable, who made it ready, the clock, and not commuting.
//
// source  Flanagan, Godefroid: Dynamic Partial-Order Reduction (POPL 2005);
//         Abdulla, Aronis, Jonsson, Sagonas: Optimal Dynamic Partial Order Reduction (POPL 2014).
#pragma once
#include <cstdint>
#include <vector>

#include "sim/explore/walk.hpp"

namespace sim::explore {

struct Reversal {
    std::vector<Departure> departures;  // of the run, before this choice
    std::uint32_t choice;
    Tried picked;  // what the run did
    struct Beginning {
        std::uint32_t k;
        Tried tried;
    };
    std::vector<Beginning> beginnings;  // any one of them
};

// Of the races that end at or after the run's last departure.
std::vector<Reversal> reversals(const Prefix& prefix, const Path& path);

}  // namespace sim::explore
