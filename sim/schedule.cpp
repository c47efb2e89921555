// SPDX-License-Identifier: Apache-2.0
#include "sim/schedule.hpp"

namespace sim {

std::uint32_t Schedule::pick(std::span<const Candidate> ready) {
    return choose(static_cast<std::uint32_t>(ready.size()), "ready");
}

std::uint32_t Schedule::fault(std::uint32_t, Label) { return 0; }

bool Schedule::feature(Label) { return true; }

bool Schedule::keep(Label) { return true; }

const char* to_text(ChoiceKind kind) {
    switch (kind) {
    case ChoiceKind::order: return "order";
    case ChoiceKind::value: return "value";
    case ChoiceKind::fault: return "fault";
    case ChoiceKind::feature: return "feature";
    case ChoiceKind::operation: return "operation";
    }
    return "";
}

}  // namespace sim
