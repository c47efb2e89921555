// SPDX-License-Identifier: Apache-2.0
// Who waits for whom, in names: the text of a deadlock.
#include <fmt/format.h>

#include <algorithm>

#include "sim/wait_queue.hpp"
#include "sim/world.hpp"

namespace sim {
namespace {

std::string name_of(const Fiber& fiber) {
    return fmt::format("{}#{}", fiber.label.name(), fiber.id);
}

}  // namespace

const Fiber* Fiber::waits_for() const {
    if (state_ != State::parked) return nullptr;
    if (joined_ != nullptr) return joined_;
    return queue_ != nullptr ? queue_->owner() : nullptr;
}

std::string World::waiting_report() const {
    std::vector<const Fiber*> waiting;
    for (const Fiber* fiber = alive_; fiber != nullptr; fiber = fiber->next_alive_)
        if (fiber->parked() && !fiber->service_) waiting.push_back(fiber);
    std::sort(waiting.begin(), waiting.end(),
              [](const Fiber* a, const Fiber* b) { return a->id < b->id; });
    std::string text;
    for (const Fiber* fiber : waiting) {
        text += fmt::format("fiber {} '{}' on thread '{}' waits for '{}'", fiber->id,
                            fiber->label.name(), threads_[fiber->thread]->name(),
                            fiber->waiting_for().name());
        if (const Fiber* owner = fiber->waits_for(); owner != nullptr)
            text += fmt::format(", held by fiber {} '{}'", owner->id, owner->label.name());
        text += '\n';
    }
    // Each fiber waits for at most one other, so each cycle is met by going on from any of its
    // members; it is told once, from the one with the lowest id.
    for (const Fiber* start : waiting) {
        std::string cycle = name_of(*start);
        const Fiber* at = start->waits_for();
        std::size_t steps = 0;
        while (at != nullptr && at != start && at->id > start->id && ++steps <= waiting.size()) {
            cycle += " -> " + name_of(*at);
            at = at->waits_for();
        }
        if (at == start) text += "cycle: " + cycle + " -> " + name_of(*start) + '\n';
    }
    return text;
}

}  // namespace sim
