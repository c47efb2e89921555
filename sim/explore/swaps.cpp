// SPDX-License-Identifier: Apache-2.0
#include "sim/explore/swaps.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "sim/explore/walk.hpp"
#include "sim/rng.hpp"

namespace sim::explore {
namespace {

// Departures all along; of values few, so that not everything goes wrong.
Prefix random_prefix(RandomStream& random) {
    constexpr std::uint32_t choices = 3000;
    Prefix prefix;
    for (std::uint32_t choice = 0; choice < choices; ++choice)
        if (random.chance(1, 2))
            prefix.departures.push_back({choice, static_cast<std::uint32_t>(random.below(4)), {}});
    return prefix;
}

// Where in the swapped run an event is first that is another, or touches something else.
std::optional<std::size_t> first_difference(const Path& path, const Path& swapped) {
    std::map<Event, const Touches*> touches;
    for (const Ran& ran : path.steps) touches.emplace(ran.event, &ran.touched);
    for (std::size_t i = 0; i < swapped.steps.size(); ++i) {
        const auto found = touches.find(swapped.steps[i].event);
        if (found == touches.end() || *found->second != swapped.steps[i].touched) return i;
    }
    if (path.steps.size() != swapped.steps.size()) return swapped.steps.size() - 1;
    return std::nullopt;
}

std::string difference(const Path& path, const Verdict& verdict, const Path& swapped,
                       const Verdict& swapped_verdict) {
    if (const auto step = first_difference(path, swapped))
        return fmt::format("step {} is another: '{}', not '{}'", *step,
                           swapped.steps[*step].label.name(),
                           path.steps[std::min(*step, path.steps.size() - 1)].label.name());
    if (verdict.signature != swapped_verdict.signature)
        return fmt::format("'{}' became '{}'", verdict.signature, swapped_verdict.signature);
    if (verdict.end != swapped_verdict.end)
        return fmt::format("the end\n{}\nbecame\n{}", verdict.end, swapped_verdict.end);
    return {};
}

}  // namespace

Swaps check_swaps(const Trial& trial, std::uint64_t seed, std::uint64_t swaps_max) {
    RandomStream random(seed, "swaps");
    const Prefix prefix = random_prefix(random);
    Path path;
    const Verdict verdict = trial({seed, walk(prefix, Reduce::no, path)});
    std::vector<std::size_t> places;
    for (std::size_t i = 0; i + 1 < path.steps.size(); ++i) {
        const Ran &one = path.steps[i], &next = path.steps[i + 1];
        const bool was_ready =
            std::find(one.ready.begin(), one.ready.end(), next.event) != one.ready.end();
        if (was_ready && commute(one.touched, next.touched)) places.push_back(i);
    }
    Swaps swaps;
    while (!places.empty() && swaps.made < swaps_max && swaps.difference.empty()) {
        const std::size_t i = std::exchange(places[random.below(places.size())], places.back());
        places.pop_back();
        Course course = course_of(path);
        std::swap(course.events[i], course.events[i + 1]);
        Path swapped;
        const Verdict other = trial({seed, follow(course, swapped)});
        ++swaps.made;
        const std::string what = difference(path, verdict, swapped, other);
        if (!what.empty())
            swaps.difference = fmt::format(
                "steps {} '{}' and {} '{}' do not commute: {}", i, path.steps[i].label.name(),
                i + 1, path.steps[i + 1].label.name(), what);
    }
    return swaps;
}

}  // namespace sim::explore
