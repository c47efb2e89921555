// SPDX-License-Identifier: Apache-2.0
// Mutants: known bugs that test builds can switch on, one at one place of the code.
//
//     if (!sim::mutant<"S05">()) bitmap.set(...);   // off: the code is right
//
// Other builds contain nothing of them: mutant<"...">() is the constant false there. A mutant is
// registered by being mentioned; the same name may be mentioned at several places.
#pragma once
#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace sim {

template <std::size_t N>
struct MutantName {
    char text[N];
    constexpr MutantName(const char (&name)[N]) { std::copy_n(name, N, text); }
};

constexpr bool mutants_built_in = BLOCKSTEP_MUTANTS;

// Names of all mutants in this program, sorted; empty in builds without them.
std::vector<std::string> all_mutants();
// From here on only this one is on; an empty name: none. False: there is no such mutant.
bool set_mutant(std::string_view name);
std::string current_mutant();  // the one that is on; empty: none

class MutantSwitch;

// No mutant is on while this lives: for what a test is given, rather than what it looks at.
class WithoutMutants {
public:
    WithoutMutants();
    WithoutMutants(const WithoutMutants&) = delete;
    WithoutMutants& operator=(const WithoutMutants&) = delete;
    ~WithoutMutants();

private:
    MutantSwitch* was_on_ = nullptr;
};

class MutantSwitch {
public:
    explicit MutantSwitch(const char* name);
    MutantSwitch(const MutantSwitch&) = delete;
    MutantSwitch& operator=(const MutantSwitch&) = delete;
    const char* const name;
    bool on = false;
};

template <MutantName name>
struct MutantPlace {
    static inline MutantSwitch the_switch{name.text};
};

template <MutantName name>
bool mutant() {
    if constexpr (mutants_built_in)
        return MutantPlace<name>::the_switch.on;
    else
        return false;
}

}  // namespace sim
