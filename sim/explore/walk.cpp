// SPDX-License-Identifier: Apache-2.0
#include "sim/explore/walk.hpp"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

namespace sim::explore {

bool commute(const Touches& a, const Touches& b) {
    if (a.empty() || b.empty()) return false;
    for (const Touch& one : a)
        for (const Touch& other : b)
            if (one.subject == other.subject &&
                (one.access == Access::write || other.access == Access::write))
                return false;
    return true;
}

namespace {

Event mix(std::uint64_t a, std::uint64_t b) {
    std::uint64_t value = (a ^ 0x9e3779b97f4a7c15U) * 0xbf58476d1ce4e5b9U + b;
    value = (value ^ (value >> 29)) * 0x94d049bb133111ebU;
    return value ^ (value >> 32);
}

// Names that two orders of commuting steps have in common.
class Names {
public:
    // From here on what is made gets these ids, and is this event's.
    void begins(Event event, std::uint64_t next_id) { makers_.emplace_back(next_id, event); }
    Event of(std::uint64_t id, std::uint32_t turn) const {
        const auto is_before = [](std::uint64_t one, const auto& maker) {
            return one < maker.first;
        };
        const auto after = std::upper_bound(makers_.begin(), makers_.end(), id, is_before);
        if (after == makers_.begin()) return mix(mix(0, id), turn);
        const auto& [first, maker] = *std::prev(after);
        return mix(mix(maker, id - first), turn);
    }

private:
    std::vector<std::pair<std::uint64_t, Event>> makers_;  // by first id
};

class Walk final : public Schedule, StepWatcher {
public:
    Walk(const Prefix& prefix, Reduce reduce, Path& path, const Course* course = nullptr)
        : prefix_(prefix), reduce_(reduce), path_(path), course_(course) {}

    std::uint32_t choose(std::uint32_t n, Label) override { return answer(ChoiceKind::value, n); }
    std::uint32_t fault(std::uint32_t n, Label) override { return answer(ChoiceKind::fault, n); }
    bool feature(Label) override { return answer(ChoiceKind::feature, 2) == 0; }
    bool keep(Label) override { return answer(ChoiceKind::operation, 2) == 0; }

    std::uint32_t pick(std::span<const Candidate> ready) override {
        const auto n = static_cast<std::uint32_t>(ready.size());
        ready_.clear();
        for (const Candidate& event : ready) ready_.push_back(names_.of(event.id, event.turn));
        asleep_here_.clear();
        for (const Event event : ready_)
            if (sleeps(event)) asleep_here_.push_back(event);
        std::uint32_t k = 0;
        if (course_ != nullptr) {
            k = place_of_next();
        } else if (const Departure* told = departure()) {
            k = told->k < n ? told->k : 0;
            tried_ = told->before;
        } else if (asleep_here_.size() == n) {
            give_up();
        } else {
            while (sleeps(ready_[k])) ++k;
        }
        picked_ = static_cast<std::uint32_t>(path_.points.size());
        path_.points.push_back({ChoiceKind::order, n, k});
        return k;
    }

    StepWatcher* watcher() override { return this; }

    void begins(const Step& step) override {
        Ran ran{.event = names_.of(step.id, step.turn),
                .label = step.label,
                .after = Ran::none,
                .readied_by = Ran::none,
                .choice = std::exchange(picked_, Ran::none),
                .later = step.at != now_,
                .ready = {},
                .asleep = {},
                .touched = {}};
        now_ = step.at;
        if (ran.choice != Ran::none) {
            ran.ready = ready_;
            ran.asleep = asleep_here_;
        } else if (sleeps(ran.event)) {
            give_up();  // it runs alone: there is nothing else to do
        }
        const auto index = static_cast<std::uint32_t>(path_.steps.size());
        if (first_number_ == 0) first_number_ = step.number;
        if (step.readied_by >= first_number_ && step.readied_by < step.number)
            ran.readied_by = static_cast<std::uint32_t>(step.readied_by - first_number_);
        const auto [last, fresh] = last_of_.try_emplace(step.id, index);
        if (!fresh) ran.after = std::exchange(last->second, index);
        names_.begins(ran.event, step.next_id);
        path_.steps.push_back(std::move(ran));
        asked_ = false;
        running_ = true;
        if (departing_) path_.departed = index;
        departing_ = false;
    }

    void ends(std::span<const Touch> touched) override {
        running_ = false;
        Touches& all = path_.steps.back().touched;
        if (!asked_) all.assign(touched.begin(), touched.end());
        tidy(all);
        if (reduce_ == Reduce::yes)
            for (Tried& tried : tried_) asleep_.push_back(std::move(tried));
        tried_.clear();
        std::erase_if(asleep_, [&](const Tried& s) { return !commute(s.touched, all); });
    }

    void left() override {
        if (path_.steps.empty()) return;
        path_.steps.back().touched.clear();
        asleep_.clear();
    }

private:
    const Departure* departure() {
        if (passed_ == prefix_.departures.size()) return nullptr;
        const Departure& next = prefix_.departures[passed_];
        if (next.choice != path_.points.size()) return nullptr;
        ++passed_;
        departing_ = passed_ == prefix_.departures.size();
        return &next;
    }

    // What a step does that asks something is more than one thing: it commutes with nothing.
    std::uint32_t answer(ChoiceKind kind, std::uint32_t n) {
        const Departure* told = departure();
        if (kind == ChoiceKind::operation) {  // they are there to be done
            path_.points.push_back({kind, n, 0});
            return 0;
        }
        std::uint32_t k = told != nullptr ? told->k : 0;
        if (course_ != nullptr && answered_ < course_->answers.size())
            k = course_->answers[answered_++];
        if (k >= n) k = 0;
        path_.points.push_back({kind, n, k});
        if (departing_ && running_) {
            path_.departed = path_.steps.size() - 1;
            departing_ = false;
        }
        asked_ = true;
        if (!running_) left();
        return k;
    }

    static void tidy(Touches& touched) {
        const auto less = [](const Touch& a, const Touch& b) {
            return a.subject != b.subject ? a.subject < b.subject : a.access > b.access;
        };
        std::sort(touched.begin(), touched.end(), less);  // of one subject a write comes first
        const auto same = [](const Touch& a, const Touch& b) { return a.subject == b.subject; };
        touched.erase(std::unique(touched.begin(), touched.end(), same), touched.end());
    }

    // Among the ready ones, the next of the course.
    std::uint32_t place_of_next() {
        const std::size_t next = path_.steps.size();
        const auto at = next < course_->events.size()
                            ? std::find(ready_.begin(), ready_.end(), course_->events[next])
                            : ready_.end();
        if (at == ready_.end()) path_.lost = true;
        return path_.lost ? 0 : static_cast<std::uint32_t>(at - ready_.begin());
    }

    bool sleeps(Event event) const {
        return std::any_of(asleep_.begin(), asleep_.end(),
                           [&](const Tried& s) { return s.event == event; });
    }

    void give_up() {
        path_.redundant_from = std::min(path_.redundant_from, path_.steps.size());
    }

    const Prefix& prefix_;
    const Reduce reduce_;
    Path& path_;
    const Course* course_;  // nullptr: none
    std::size_t answered_ = 0;
    Names names_;
    std::vector<Tried> asleep_, tried_;
    std::vector<Event> ready_, asleep_here_;         // at the last order choice
    std::map<std::uint64_t, std::uint32_t> last_of_;  // runnable -> its latest step
    std::size_t passed_ = 0;  // departures
    std::uint64_t first_number_ = 0;
    std::uint32_t picked_ = Ran::none;
    Instant now_;
    bool departing_ = false, asked_ = false, running_ = false;
};

}  // namespace

std::unique_ptr<Schedule> walk(const Prefix& prefix, Reduce reduce, Path& path) {
    return std::make_unique<Walk>(prefix, reduce, path);
}

Course course_of(const Path& path) {
    Course course;
    for (const Ran& ran : path.steps) course.events.push_back(ran.event);
    for (const Point& point : path.points)
        if (point.kind != ChoiceKind::order && point.kind != ChoiceKind::operation)
            course.answers.push_back(point.k);
    return course;
}

std::unique_ptr<Schedule> follow(const Course& course, Path& path) {
    static const Prefix nothing;
    return std::make_unique<Walk>(nothing, Reduce::no, path, &course);
}

}  // namespace sim::explore
