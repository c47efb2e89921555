// SPDX-License-Identifier: Apache-2.0
#include "sim/mutant.hpp"

#include <utility>

namespace sim {
namespace {

std::vector<MutantSwitch*>& switches() {
    static std::vector<MutantSwitch*> all;  // made by the first switch, whichever file that is in
    return all;
}

}  // namespace

MutantSwitch::MutantSwitch(const char* its_name) : name(its_name) { switches().push_back(this); }

std::vector<std::string> all_mutants() {
    std::vector<std::string> names;
    for (const MutantSwitch* mutant : switches()) names.emplace_back(mutant->name);
    std::sort(names.begin(), names.end());
    return names;
}

bool set_mutant(std::string_view name) {
    bool found = name.empty();
    for (MutantSwitch* mutant : switches()) {
        mutant->on = mutant->name == name;
        found |= mutant->on;
    }
    return found;
}

WithoutMutants::WithoutMutants() {
    for (MutantSwitch* mutant : switches())
        if (std::exchange(mutant->on, false)) was_on_ = mutant;
}

WithoutMutants::~WithoutMutants() {
    if (was_on_ != nullptr) was_on_->on = true;
}

std::string current_mutant() {
    for (const MutantSwitch* mutant : switches())
        if (mutant->on) return mutant->name;
    return {};
}

}  // namespace sim
