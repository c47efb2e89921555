// SPDX-License-Identifier: Apache-2.0
#include "sim/explore/reversals.hpp"

#include <algorithm>
#include <utility>

namespace sim::explore {
namespace {

// A set of steps of one instant.
class Steps {
public:
    explicit Steps(std::size_t size = 0) : words_((size + 63) / 64) {}
    bool has(std::size_t i) const {
        return i / 64 < words_.size() && (words_[i / 64] >> (i % 64) & 1) != 0;
    }
    void add(std::size_t i) { words_[i / 64] |= std::uint64_t{1} << (i % 64); }
    void add(const Steps& other) {
        for (std::size_t i = 0; i < other.words_.size(); ++i) words_[i] |= other.words_[i];
    }

private:
    std::vector<std::uint64_t> words_;
};

bool has(const std::vector<Event>& events, Event event) {
    return std::find(events.begin(), events.end(), event) != events.end();
}

class Races {
public:
    Races(const Prefix& prefix, const Path& path)
        : prefix_(prefix), path_(path), end_(std::min(path.steps.size(), path.redundant_from)) {}

    std::vector<Reversal> run() {
        // Instants before the last departure's are another run's, and the clock orders them.
        for (std::size_t step = 0; step < end_; ++step) {
            if (path_.steps[step].later) instant_ = step, before_.clear();
            before_.push_back(order(step));
            if (step < path_.departed) continue;
            for (const std::size_t first : races_) reverse(first, step);
        }
        if (end_ == path_.steps.size() && end_ > 0) left_over();
        return std::move(found_);
    }

private:
    // All steps of the instant that come before this one in every equal order; on the way the
    // races that end here.
    Steps order(std::size_t step) {
        Steps before(step - instant_);
        const auto is_before = [&](std::size_t one) {
            before.add(before_[one - instant_]);
            before.add(one - instant_);
        };
        const Ran& ran = path_.steps[step];
        for (const std::uint32_t cause : {ran.after, ran.readied_by})
            if (cause != Ran::none && cause >= instant_) is_before(cause);
        races_.clear();
        for (std::size_t one = step; one-- > instant_;) {
            if (before.has(one - instant_)) continue;
            if (commute(path_.steps[one].touched, ran.touched)) continue;
            races_.push_back(one);
            is_before(one);
        }
        return before;
    }

    bool ordered(std::size_t one, std::size_t other) const {
        return before_[other - instant_].has(one - instant_);
    }

    void reverse(std::size_t first, std::size_t second) {
        const Ran& ran = path_.steps[first];
        if (ran.choice == Ran::none) return;  // nothing else could run
        Reversal reversal = at(first);
        std::vector<std::size_t> apart;  // what the first is not needed for
        for (std::size_t step = first + 1; step <= second; ++step) {
            if (step < second && ordered(first, step)) continue;
            const bool begins = std::none_of(apart.begin(), apart.end(), [&](std::size_t one) {
                return ordered(one, step);
            });
            apart.push_back(step);
            if (!begins) continue;
            const Ran& beginning = path_.steps[step];
            if (has(ran.asleep, beginning.event)) return;  // run elsewhere
            add(reversal, ran, beginning.event, beginning.touched);
        }
        if (reversal.beginnings.empty())
            all_others(first);
        else
            found_.push_back(std::move(reversal));
    }

    // A run ended while others were ready: they might have run before.
    void left_over() {
        const std::size_t last = end_ - 1;
        if (last >= path_.departed) all_others(last);
    }

    void all_others(std::size_t step) {
        const Ran& ran = path_.steps[step];
        if (ran.choice == Ran::none) return;
        for (const Event event : ran.ready) {
            if (event == ran.event || has(ran.asleep, event)) continue;
            Reversal reversal = at(step);
            add(reversal, ran, event, {});
            found_.push_back(std::move(reversal));
        }
    }

    Reversal at(std::size_t step) const {
        const Ran& ran = path_.steps[step];
        Reversal reversal{{}, ran.choice, {ran.event, ran.touched}, {}};
        for (const Departure& departure : prefix_.departures)
            if (departure.choice < ran.choice) reversal.departures.push_back(departure);
        return reversal;
    }

    static void add(Reversal& reversal, const Ran& ran, Event event, const Touches& touched) {
        const auto at = std::find(ran.ready.begin(), ran.ready.end(), event);
        if (at == ran.ready.end()) return;
        const auto k = static_cast<std::uint32_t>(at - ran.ready.begin());
        reversal.beginnings.push_back({k, {event, touched}});
    }

    const Prefix& prefix_;
    const Path& path_;
    const std::size_t end_;
    std::size_t instant_ = 0;     // its first step
    std::vector<Steps> before_;  // of its steps
    std::vector<std::size_t> races_;
    std::vector<Reversal> found_;
};

}  // namespace

std::vector<Reversal> reversals(const Prefix& prefix, const Path& path) {
    return Races(prefix, path).run();
}

}  // namespace sim::explore
