// SPDX-License-Identifier: Apache-2.0
// Walk: one run of an exhaustive search, as a schedule that makes it and writes down what it took.
//
// A departure is an answer other than the ordinary one; a prefix is a list of them, and the run of
// a prefix is ordinary after its last. Ordinary is: the first of the ready events that is not
// asleep, and 0 for all else. An event is asleep where it was tried before in this very situation
// and has commuted with all that ran since: what it leads to from here was run elsewhere.
//
// Events have names that do not depend on the order of steps that commute: who made the runnable,
// as the how manieth, and its turn.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "sim/schedule.hpp"

namespace sim::explore {

using Event = std::uint64_t;

// Empty: anything.
using Touches = std::vector<Touch>;
bool commute(const Touches& a, const Touches& b);

// An event that was tried, and what it touched there.
struct Tried {
    Event event;
    Touches touched;
};

struct Departure {
    std::uint32_t choice;  // index among the run's choices
    std::uint32_t k;
    std::vector<Tried> before;  // what has its turn here before this one
};

struct Prefix {
    std::vector<Departure> departures;
    std::uint32_t choices = 0;  // of its run: up to the last that is to be departed from in turn
};

// One choice of a run.
struct Point {
    ChoiceKind kind;
    std::uint32_t n;
    std::uint32_t k;
};

// One event of a run.
struct Ran {
    static constexpr std::uint32_t none = UINT32_MAX;
    Event event;
    Label label;
    std::uint32_t after;        // its runnable's step before this one, or none
    std::uint32_t readied_by;   // the step that made it ready, or none
    std::uint32_t choice;       // the order choice that picked it, or none: it was alone
    bool later;                 // the clock moved before it
    std::vector<Event> ready;   // order choice only
    std::vector<Event> asleep;  // of those
    Touches touched;
};

struct Path {
    std::vector<Point> points;
    std::vector<Ran> steps;
    // From this step on it is equal to a run elsewhere.
    std::size_t redundant_from = SIZE_MAX;
    std::size_t departed = 0;  // the step of the last departure; all before it are another run's
    bool lost = false;         // it could not go the course
};

// Reduce::no: nothing is ever asleep.
enum class Reduce : bool { no, yes };
std::unique_ptr<Schedule> walk(const Prefix& prefix, Reduce reduce, Path& path);

// A whole run by the names of its events, and its other answers.
struct Course {
    std::vector<Event> events;
    std::vector<std::uint32_t> answers;
};
Course course_of(const Path& path);
std::unique_ptr<Schedule> follow(const Course& course, Path& path);

}  // namespace sim::explore
