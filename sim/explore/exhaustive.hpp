// SPDX-License-Identifier: Apache-2.0
// Exhaustive search: every run with no departure from the ordinary, then every run with one, with
// two ... until a bound, or until there is none left and the whole space is done.
//
// Of orders that differ only in steps that commute one is run. So a departure of order is made only
// to reverse a race (reversals.hpp), and what was tried already is asleep (walk.hpp); a departure
// of a value, a fault or a feature is made everywhere. Within bounds a departure of order means
// such a reversal: an order counts by the reversals that it takes to come to one equal to it.
//
// What is left to do is a list that can be kept and cut. A run may ask for a reversal in a run with
// fewer departures than its own: it is done next.
//
// source  Godefroid: Partial-Order Methods for the Verification of Concurrent Systems (1996);
//         Emmi, Qadeer, Rakamaric: Delay-Bounded Scheduling (POPL 2011).
#pragma once
#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "sim/expected.hpp"
#include "sim/explore/reversals.hpp"
#include "sim/explore/search.hpp"

namespace sim::explore {

struct ExhaustiveLimits {
    std::uint32_t departures = UINT32_MAX;
    std::uint32_t preemptions = UINT32_MAX;  // departures that are order choices
    std::uint32_t depth = UINT32_MAX;        // choices from here on are all ordinary
    Reduce reduce = Reduce::yes;             // no: every order is a departure of its own
};

// A piece of work: the run of a prefix (to == 0), or those that depart from it at the choices
// [from, to) where all alternatives are to be run.
struct Portion {
    Prefix prefix;
    std::uint32_t from = 0, to = 0;
};

// What runs lead to.
struct Growth {
    std::vector<Prefix> prefixes;  // whose runs were made
    std::vector<Reversal> reversals;
};

std::string to_text(const Portion& portion);
Expected<Portion, std::string> parse_portion(std::string_view text);
std::string to_text(const Growth& growth);
Expected<Growth, std::string> parse_growth(std::string_view text);

struct PortionResult {
    BatchResult found;
    Growth growth;
    std::uint64_t commuting = 0;  // runs that turned out to be equal to others
    bool complete = true;
};

PortionResult run_portion(const Trial& trial, const SearchOptions& options,
                          const ExhaustiveLimits& limits, const Portion& portion);

// What is done and what is left; a text in between.
class Frontier {
public:
    explicit Frontier(const ExhaustiveLimits& limits = {});

    bool done() const { return first_left(nullptr) == nullptr; }  // nothing is left within limits
    // The next portions, at most so many; the same until they are finished.
    std::vector<Portion> next(std::size_t count) const;
    // The results of the portions that next() gave first, in its order.
    void finished(const std::vector<PortionResult>& results);
    // "all known runs with at most 2 departures are done; of those with 3 some 12.4 %; 1841 runs"
    std::string told() const;
    std::uint64_t runs() const { return runs_; }
    std::uint64_t commuting() const { return commuting_; }
    const ExhaustiveLimits& limits() const { return limits_; }

    std::string to_text() const;
    static Expected<Frontier, std::string> parse(std::string_view text);

private:
    // The runs with so many departures.
    struct Level {
        std::deque<Portion> left;
        std::uint64_t done = 0, known = 0;  // each choice to depart from, and each prefix, is one
    };
    static std::uint64_t size_of(const Portion& portion) {
        return portion.to == 0 ? 1 : portion.to - portion.from;
    }
    void add(std::size_t departures, Portion portion);
    void take(const Reversal& reversal);
    static Portion cut(const Portion& left);                 // what is done of it at a time
    const Level* first_left(std::size_t* departures) const;  // nullptr: nothing is left

    ExhaustiveLimits limits_;
    std::uint64_t runs_ = 0;
    std::uint64_t commuting_ = 0;
    bool cut_ = false;  // there would be more beyond the bound of departures
    std::vector<Level> levels_;  // by departures
    // What was tried where orders were reversed, by the departures that lead there.
    std::map<std::vector<std::uint32_t>, std::vector<Tried>> tried_;
};

}  // namespace sim::explore
