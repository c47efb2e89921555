// SPDX-License-Identifier: Apache-2.0
// ChoiceRecord: what a schedule answered in one run, as a small text that replays anywhere.
//
//     blockstep choices 2
//     scenario=scenarios/mirror_meets_hotplug.py     lines of key=value, then an empty one
//     seed=17
//
//     order mirror copy 3 2      of 3 ready events the third ran, a 'mirror copy'
//     order guest write 2 1 x4   the same four times in a row
//     ordinary 57                57 answers of 0, whatever was asked
//     fault disk.qcow2: write fails 2 1
//
// A line is a kind, a name, how many answers there were and which one was given. Ordinary answers
// are only counted, so that a record is as long as its run was out of the ordinary.
#pragma once
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "sim/expected.hpp"
#include "sim/schedule.hpp"

namespace sim {

struct ChoiceRecord {
    std::map<std::string, std::string> headers;
    std::vector<Choice> choices;
};

std::string to_text(const ChoiceRecord& record);
// The error is a sentence that begins with the line's number. Anything may be fed to it.
Expected<ChoiceRecord, std::string> parse_choice_record(std::string_view text);

}  // namespace sim
