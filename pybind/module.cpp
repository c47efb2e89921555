// SPDX-License-Identifier: Apache-2.0
// The extension module _blockstep: whatever sections registered themselves.
#include "pybind/section.hpp"

#include <algorithm>
#include <map>

#include "sim/check.hpp"

namespace bindings {
namespace {

std::map<std::string, SectionEntry>& registry() {
    static std::map<std::string, SectionEntry> sections;
    return sections;
}

}  // namespace

Section::Section(std::string name, std::initializer_list<std::string> needs, Fill fill) {
    const bool fresh = registry().emplace(name, SectionEntry{name, needs, fill}).second;
    EXPECTS(fresh);
}

std::vector<SectionEntry> ordered_sections() {
    std::vector<SectionEntry> ordered;
    const auto placed = [&](const std::string& name) {
        return std::any_of(ordered.begin(), ordered.end(),
                           [&](const SectionEntry& entry) { return entry.name == name; });
    };
    while (ordered.size() < registry().size()) {
        const std::size_t before = ordered.size();
        for (const auto& [name, entry] : registry())
            if (!placed(name) && std::all_of(entry.needs.begin(), entry.needs.end(), placed))
                ordered.push_back(entry);
        INVARIANT(ordered.size() > before);  // else two sections need each other
    }
    return ordered;
}

}  // namespace bindings

PYBIND11_MODULE(_blockstep, module) {
    module.doc() = "Simulated worlds and what lives in them; use the package `blockstep`.";
    for (const bindings::SectionEntry& section : bindings::ordered_sections())
        section.fill(module);
}
