// SPDX-License-Identifier: Apache-2.0
#include "sim/trace.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace sim {
Trace::Trace() { names_.push_back({"", 0}); }

Subject Trace::subject(std::string_view name) {
    if (name.empty()) return {0};
    if (const auto found = index_.find(name); found != index_.end()) return {found->second};
    const auto index = static_cast<std::uint32_t>(names_.size());
    names_.push_back({std::string(name), hash_text(name)});
    index_.emplace(name, index);
    return {index};
}

void Trace::keep(const TraceEvent& event) { events_.push_back(event); }

void Trace::keep_step(Instant at, const Label& label, std::uint64_t runnable,
                      std::uint32_t thread) {
    steps_.push_back({at, label, runnable, count_, thread});
}

std::vector<TraceEvent> Trace::last(std::size_t n) const {
    const std::size_t kept = std::min<std::uint64_t>({n, count_, ring_.size()});
    std::vector<TraceEvent> events;
    for (std::size_t i = 0; i < kept; ++i)
        events.push_back(ring_[(count_ - kept + i) % ring_.size()]);
    return events;
}

std::string Trace::to_line(const TraceEvent& event) const {
    return fmt::format("{:>14} ns  fiber {:<5} {:<28} {:<20} {} {}", event.at.ns, event.fiber,
                       event.label.name(), name(event.subject), event.a, event.b);
}

}  // namespace sim
