// SPDX-License-Identifier: Apache-2.0
// Section: one part of the Python module, in a file of its own that nothing else names.
//
// Rules in sections: no logic, only names, units and lifetimes. Times cross as integer nanoseconds.
#pragma once
#include <pybind11/pybind11.h>

#include <initializer_list>
#include <string>
#include <vector>

namespace bindings {

namespace py = pybind11;
using namespace pybind11::literals;

class Section {
public:
    using Fill = void (*)(py::module_&);
    // needs: sections whose types this one's signatures name.
    Section(std::string name, std::initializer_list<std::string> needs, Fill fill);
};

struct SectionEntry {
    std::string name;
    std::vector<std::string> needs;
    Section::Fill fill;
};

// Every section, each after those it needs, otherwise by name.
std::vector<SectionEntry> ordered_sections();

}  // namespace bindings
