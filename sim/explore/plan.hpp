// SPDX-License-Identifier: Apache-2.0
// Plan: a run as what is out of the ordinary in it: events moved out of their place in the line,
// and answers that are not 0. The form in which a run is shrunk and explained.
//
// The moved events are the fewest whose removal leaves an order that is first in, first out; their
// number is what "pre-emptions" counts.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "sim/explore/run_log.hpp"

namespace sim::explore {

struct Move {  // `event` runs right after `after`, or first of all (after the nameless one)
    EventName event;
    EventName after;
};

struct Answer {  // the occurrence-th question of this kind and name is answered with k
    ChoiceKind kind;
    Label label;
    std::uint32_t occurrence;
    std::uint32_t k;
};

struct Plan {
    std::vector<Move> moves;
    std::vector<Answer> answers;
    std::size_t count(ChoiceKind kind) const;
    std::size_t size() const { return moves.size() + answers.size(); }
};

Plan plan_of(const RunLog& log);
// Follows the plan; whatever it does not name is ordinary. Order comes from `order` instead, if
// there is one. What never happens in a run is passed over.
std::unique_ptr<Schedule> plan_schedule(const Plan& plan,
                                        std::unique_ptr<Schedule> order = nullptr);

// Answers the i-th question with answers[i]; past the end, or where that is too many, with 0.
std::unique_ptr<Schedule> forced_schedule(std::vector<std::uint32_t> answers);

std::string to_text(const EventName& name);

}  // namespace sim::explore
