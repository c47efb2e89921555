// SPDX-License-Identifier: Apache-2.0
// ChoiceRecord: what a schedule answered in one run, as a small text that replays anywhere.
//
//     blockstep choices 1
//     scenario=scenarios/mirror_meets_hotplug.py     lines of key=value, then an empty one
//     seed=17
//
//     ready 3 2                  label, how many answers there were, which one was given
//     power cut: sector 2 1 x4   the same four times in a row
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
