// SPDX-License-Identifier: Apache-2.0
// Exhaustive search: every run with no departure from the ordinary, then every run with one, with
// two ... until a bound, or until there is none left and the whole space is done.
//
// A departure is an answer other than 0 to any choice; a prefix is a list of them, and the run of a
// prefix is ordinary after its last. Level d is the runs of all prefixes of d departures, made from
// the runs of level d-1, so that what is left to do is a list that can be kept and cut.
//
// Steps that say what they touch (World::touch) are not run in both orders when they commute (sleep
// sets). What that leaves out at one level is an order equal to one of this or of a later level.
//
// source  Godefroid: Partial-Order Methods for the Verification of Concurrent Systems (1996);
//         Emmi, Qadeer, Rakamaric: Delay-Bounded Scheduling (POPL 2011).
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "sim/expected.hpp"
#include "sim/explore/search.hpp"

namespace sim::explore {

// An event that was tried elsewhere and commutes with all that ran since.
struct Sleeping {
    std::uint64_t id;
    std::uint32_t turn;
    std::vector<Touch> touched;
};

struct Departure {
    std::uint32_t choice;  // index among the run's choices
    std::uint32_t k;
};

struct Prefix {
    std::vector<Departure> departures;
    std::vector<Sleeping> asleep;  // right after the last departure
    std::uint32_t choices = 0;     // of its run
};

struct ExhaustiveLimits {
    std::uint32_t departures = UINT32_MAX;
    std::uint32_t preemptions = UINT32_MAX;  // departures that are order choices
    std::uint32_t depth = UINT32_MAX;        // choices from here on are all ordinary
};

// A piece of work: the children of one prefix that depart at choices [from, to).
struct Portion {
    Prefix parent;
    std::uint32_t from, to;
};

std::string to_text(const Portion& portion);
Expected<Portion, std::string> parse_portion(std::string_view text);
std::string to_text(const std::vector<Prefix>& prefixes);
Expected<std::vector<Prefix>, std::string> parse_prefixes(std::string_view text);

struct PortionResult {
    BatchResult found;
    std::vector<Prefix> children;
    std::uint64_t commuting = 0;  // runs left out because they are equal to others
    bool complete = true;
};

PortionResult run_portion(const Trial& trial, const SearchOptions& options,
                          const ExhaustiveLimits& limits, const Portion& portion);

// What is done and what is left; a text in between.
class Frontier {
public:
    explicit Frontier(const ExhaustiveLimits& limits = {}) : limits_(limits) {}

    bool done() const;  // nothing is left within the limits
    // The next portions, at most so many; the same until they are finished.
    std::vector<Portion> next(std::size_t count) const;
    // The results of the portions that next() gave first, in its order.
    void finished(const std::vector<PortionResult>& results);
    // "all runs with at most 2 departures are done (1841 runs); of those with 3 some 12.4 %"
    std::string told() const;
    std::uint32_t level() const { return level_; }
    std::uint64_t runs() const { return runs_; }
    std::uint64_t commuting() const { return commuting_; }
    const ExhaustiveLimits& limits() const { return limits_; }

    std::string to_text() const;
    static Expected<Frontier, std::string> parse(std::string_view text);

private:
    void rise();

    ExhaustiveLimits limits_;
    std::uint32_t level_ = 0;  // departures of the runs to come
    bool started_ = false;     // the run without departures is done
    std::uint64_t runs_ = 0;
    std::uint64_t commuting_ = 0;
    std::size_t parent_ = 0;   // of parents_, the first with something left
    std::uint32_t from_ = 0;   // and where that begins
    std::vector<Prefix> parents_, children_;
};

}  // namespace sim::explore
