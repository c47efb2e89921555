// SPDX-License-Identifier: Apache-2.0
// RunLog: everything a schedule was asked in one run, and every step, under names that survive
// small changes of the run.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "sim/schedule.hpp"

namespace sim::explore {

// The turn-th turn of the ordinal-th runnable of this label.
struct EventName {
    Label label;
    std::uint32_t ordinal = 0;
    std::uint32_t turn = 0;
    bool operator==(const EventName& other) const {
        return label.hash() == other.label.hash() && ordinal == other.ordinal &&
               turn == other.turn;
    }
    std::uint64_t hash() const {
        return label.hash() ^ (std::uint64_t{ordinal} << 32 | turn) * 0x9e3779b97f4a7c15U;
    }
};

// Numbers the runnables of each label in the order they are first seen among the ready ones.
class Namer {
public:
    EventName name(const Candidate& event);
    // The name of one that was among several before; false: it never was.
    bool recall(std::uint64_t id, Label label, std::uint32_t turn, EventName& name) const;

private:
    std::unordered_map<std::uint64_t, std::uint32_t> ordinals_;  // by id
    std::unordered_map<std::uint64_t, std::uint32_t> counts_;    // by hash of the label
};

struct RunLog {
    static constexpr std::size_t no_choice = SIZE_MAX;
    struct Ran {  // an event that was ready together with others
        EventName name;
        std::uint64_t arrival;  // its place in the order in which events became ready
        std::size_t choice;     // index into choices, or no_choice: it was the last one left
    };
    std::vector<Choice> choices;
    std::vector<std::uint64_t> choice_step;  // how many steps had begun before each
    std::vector<Ran> ran;
    struct Waiting : Ran {
        std::uint64_t id;
        std::uint32_t turn;
    };
    std::vector<Waiting> line;  // ready since the last choice, in order; at the end: passed over
    std::vector<Step> steps;
};

// Asks `inner` and writes the log, which must outlive it.
std::unique_ptr<Schedule> recorder(std::unique_ptr<Schedule> inner, RunLog& log);

}  // namespace sim::explore
