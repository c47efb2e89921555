// SPDX-License-Identifier: Apache-2.0
#include "sim/explore/exhaustive.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "sim/check.hpp"
#include "sim/explore/plan.hpp"

namespace sim::explore {
namespace {

constexpr std::uint32_t portion_choices = 16;

struct Event {
    std::uint64_t id;
    std::uint32_t turn;
    bool operator==(const Event&) const = default;
};

// Those who say nothing may touch anything.
bool commute(const std::vector<Touch>& a, std::span<const Touch> b) {
    if (a.empty() || b.empty()) return false;
    for (const Touch& one : a)
        for (const Touch& other : b)
            if (one.subject == other.subject &&
                (one.access == Access::write || other.access == Access::write))
                return false;
    return true;
}

// One choice of a run, as what could have been chosen instead.
struct Point {
    ChoiceKind kind;
    std::uint32_t n;
    std::uint32_t k;
    std::vector<Event> ready;  // order only
    std::vector<Sleeping> asleep;
    std::vector<Touch> touched;  // by the step that was picked
};

struct Path {
    std::vector<Point> points;
    bool redundant = false;  // from some step on equal to a run elsewhere
    std::size_t redundant_from = SIZE_MAX;
    std::vector<Sleeping> asleep_after_last;
};

class Walk final : public Schedule, StepWatcher {
public:
    // tried: the siblings of the last departure that were run before it.
    Walk(const Prefix& prefix, std::vector<Sleeping> tried, bool known, Path& path)
        : prefix_(prefix), tried_(std::move(tried)), known_(known), path_(path) {}

    std::uint32_t choose(std::uint32_t n, Label) override { return answer(ChoiceKind::value, n); }
    std::uint32_t fault(std::uint32_t n, Label) override { return answer(ChoiceKind::fault, n); }
    bool feature(Label) override { return answer(ChoiceKind::feature, 2) == 0; }
    bool keep(Label) override { return answer(ChoiceKind::operation, 2) == 0; }

    std::uint32_t pick(std::span<const Candidate> ready) override {
        const auto n = static_cast<std::uint32_t>(ready.size());
        std::uint32_t k = 0;
        const std::optional<std::uint32_t> told = departure();
        if (told) {
            k = *told < n ? *told : 0;
        } else {
            while (k < n && sleeps({ready[k].id, ready[k].turn})) ++k;
            if (k == n) {
                give_up();
                k = 0;
            }
        }
        Point point{ChoiceKind::order, n, k, {}, asleep_, {}};
        for (const Candidate& event : ready) point.ready.push_back({event.id, event.turn});
        path_.points.push_back(std::move(point));
        picked_ = true;
        return k;
    }

    StepWatcher* watcher() override { return this; }

    void begins(const Step& step) override {
        // It ran alone: there was nothing else to do.
        if (!picked_ && sleeps({step.id, step.turn})) give_up();
    }

    void ends(std::span<const Touch> touched) override {
        if (picked_) path_.points[last_order()].touched.assign(touched.begin(), touched.end());
        picked_ = false;
        if (departing_) {  // the last departure has just run
            departing_ = false;
            asleep_ = known_ ? prefix_.asleep : tried_;
        }
        std::erase_if(asleep_, [&](const Sleeping& s) { return !commute(s.touched, touched); });
        if (passed_ == prefix_.departures.size() && !settled_) {
            settled_ = true;
            path_.asleep_after_last = asleep_;
        }
    }

private:
    std::optional<std::uint32_t> departure() {
        if (passed_ == prefix_.departures.size()) return std::nullopt;
        const Departure& next = prefix_.departures[passed_];
        if (next.choice != path_.points.size()) return std::nullopt;
        ++passed_;
        departing_ = passed_ == prefix_.departures.size();
        return next.k;
    }

    std::uint32_t answer(ChoiceKind kind, std::uint32_t n) {
        const std::uint32_t told = departure().value_or(0);
        const std::uint32_t k = told < n ? told : 0;
        path_.points.push_back({kind, n, k, {}, {}, {}});
        return k;
    }

    bool sleeps(const Event& event) const {
        return std::any_of(asleep_.begin(), asleep_.end(), [&](const Sleeping& s) {
            return s.id == event.id && s.turn == event.turn;
        });
    }

    void give_up() {
        if (path_.redundant) return;
        path_.redundant = true;
        path_.redundant_from = path_.points.size();
    }

    std::size_t last_order() const {
        std::size_t i = path_.points.size() - 1;
        while (path_.points[i].kind != ChoiceKind::order) --i;
        return i;
    }

    const Prefix& prefix_;
    std::vector<Sleeping> tried_;
    bool known_;  // prefix.asleep is from an earlier run of it
    Path& path_;
    std::vector<Sleeping> asleep_;
    std::size_t passed_ = 0;  // departures
    bool departing_ = false, settled_ = false, picked_ = false;
};

class PortionRun {
public:
    PortionRun(const Trial& trial, const SearchOptions& options, const ExhaustiveLimits& limits,
               const Portion& portion)
        : trial_(trial), options_(options), limits_(limits), portion_(portion) {}

    PortionResult run() {
        if (portion_.parent.choices == 0 && portion_.to == 0) {  // the root itself
            Prefix root;
            run_prefix(root, {});
            result_.children.push_back(std::move(root));
            return std::move(result_);
        }
        Path parent;
        trial_({options_.seed, std::make_unique<Walk>(portion_.parent, std::vector<Sleeping>(),
                                                      true, parent)});
        const auto preemptions = static_cast<std::uint32_t>(std::count_if(
            portion_.parent.departures.begin(), portion_.parent.departures.end(),
            [&](const Departure& d) {
                return d.choice < parent.points.size() &&
                       parent.points[d.choice].kind == ChoiceKind::order;
            }));
        const std::size_t end = std::min<std::size_t>(
            {portion_.to, parent.points.size(), limits_.depth, parent.redundant_from});
        for (std::size_t at = portion_.from; at < end; ++at) {
            const Point& point = parent.points[at];
            if (point.kind == ChoiceKind::operation) continue;  // they are there to be done
            if (point.kind == ChoiceKind::order && preemptions >= limits_.preemptions) continue;
            if (!depart(point, static_cast<std::uint32_t>(at))) {
                result_.complete = false;
                break;
            }
        }
        return std::move(result_);
    }

private:
    // All that could have been chosen here instead. False: told to stop.
    bool depart(const Point& point, std::uint32_t at) {
        std::vector<Sleeping> tried = point.asleep;
        if (point.kind == ChoiceKind::order && !point.touched.empty())
            tried.push_back({point.ready[point.k].id, point.ready[point.k].turn, point.touched});
        for (std::uint32_t k = 0; k < point.n; ++k) {
            if (k == point.k) continue;
            if (options_.go_on && !options_.go_on()) return false;
            if (point.kind == ChoiceKind::order) {
                const Event event = point.ready[k];
                if (std::any_of(point.asleep.begin(), point.asleep.end(),
                                [&](const Sleeping& s) {
                                    return s.id == event.id && s.turn == event.turn;
                                })) {
                    ++result_.commuting;
                    continue;
                }
            }
            Prefix child{portion_.parent.departures, {}, 0};
            child.departures.push_back({at, k});
            const Path path = run_prefix(child, tried);
            if (point.kind == ChoiceKind::order && path.points.size() > at &&
                !path.points[at].touched.empty())
                tried.push_back({point.ready[k].id, point.ready[k].turn, path.points[at].touched});
            result_.children.push_back(std::move(child));
        }
        return true;
    }

    Path run_prefix(Prefix& prefix, const std::vector<Sleeping>& tried) {
        Path path;
        const Verdict verdict =
            trial_({options_.seed, std::make_unique<Walk>(prefix, tried, false, path)});
        prefix.choices = static_cast<std::uint32_t>(path.points.size());
        prefix.asleep = path.asleep_after_last;
        BatchResult one;
        one.runs = 1;
        one.events = verdict.events;
        one.runs_by_strategy["exhaustive"] = 1;
        if (path.redundant) ++result_.commuting;
        if (verdict.failed) {
            one.failures = 1;
            std::vector<std::uint32_t> answers;
            for (const Point& point : path.points) answers.push_back(point.k);
            Finding finding = examine(trial_, verdict, options_.seed,
                                      [&] { return forced_schedule(answers); });
            finding.strategy = fmt::format("exhaustive:{}", prefix.departures.size());
            one.findings.push_back(std::move(finding));
        }
        merge(result_.found, std::move(one));
        return path;
    }

    const Trial& trial_;
    const SearchOptions& options_;
    const ExhaustiveLimits& limits_;
    const Portion& portion_;
    PortionResult result_;
};

}  // namespace

PortionResult run_portion(const Trial& trial, const SearchOptions& options,
                          const ExhaustiveLimits& limits, const Portion& portion) {
    return PortionRun(trial, options, limits, portion).run();
}

bool Frontier::done() const {
    return started_ && (parents_.empty() || level_ > limits_.departures);
}

// Where a prefix's children begin: after its last departure, so that each is made once.
static std::uint32_t begin_of(const Prefix& prefix) {
    return prefix.departures.empty() ? 0 : prefix.departures.back().choice + 1;
}

std::vector<Portion> Frontier::next(std::size_t count) const {
    if (done()) return {};
    if (!started_) return {{Prefix(), 0, 0}};
    std::vector<Portion> portions;
    std::uint32_t from = from_;
    for (std::size_t i = parent_; i < parents_.size() && portions.size() < count; ++i) {
        from = std::max(from, begin_of(parents_[i]));
        const std::uint32_t end = std::min(parents_[i].choices, limits_.depth);
        for (; from < end && portions.size() < count; from += portion_choices)
            portions.push_back({parents_[i], from, std::min(from + portion_choices, end)});
        from = 0;
    }
    return portions;
}

void Frontier::finished(const std::vector<PortionResult>& results) {
    for (const PortionResult& result : results) {
        EXPECTS(result.complete);
        runs_ += result.found.runs;
        commuting_ += result.commuting;
        children_.insert(children_.end(), result.children.begin(), result.children.end());
        if (!started_) {
            started_ = true;
            rise();
            continue;
        }
        while (std::min(parents_[parent_].choices, limits_.depth) <=
               std::max(from_, begin_of(parents_[parent_])))
            ++parent_, from_ = 0;  // had no children
        from_ = std::max(from_, begin_of(parents_[parent_])) + portion_choices;
        if (from_ >= std::min(parents_[parent_].choices, limits_.depth)) ++parent_, from_ = 0;
    }
    if (started_ && next(1).empty() && !done()) rise();
}

void Frontier::rise() {
    do {
        ++level_;
        parents_ = std::exchange(children_, {});
        parent_ = from_ = 0;
    } while (!parents_.empty() && level_ <= limits_.departures && next(1).empty());
}

std::string Frontier::told() const {
    if (!started_) return "nothing is done yet";
    std::string text;
    if (done() && level_ <= limits_.departures) {
        text = fmt::format("the whole space is done: {} runs", runs_);
    } else if (done()) {
        text = fmt::format("all runs with at most {} departures are done: {} runs",
                           limits_.departures, runs_);
    } else {
        std::uint64_t all = 0, left = 0;
        for (std::size_t i = 0; i < parents_.size(); ++i) {
            const std::uint32_t begin = begin_of(parents_[i]);
            const std::uint32_t end = std::min(parents_[i].choices, limits_.depth);
            if (end <= begin) continue;
            all += end - begin;
            if (i == parent_ && from_ > begin)
                left += end - std::min(from_, end);
            else if (i >= parent_)
                left += end - begin;
        }
        const double share =
            all == 0 ? 0 : 100.0 * static_cast<double>(all - left) / static_cast<double>(all);
        text = fmt::format(
            "all runs with at most {} departures are done; of those with {} some {:.1f} %; {} runs",
            level_ - 1, level_, share, runs_);
    }
    if (limits_.preemptions != UINT32_MAX)
        text += fmt::format(", at most {} pre-emptions each", limits_.preemptions);
    if (limits_.depth != UINT32_MAX)
        text += fmt::format(", the first {} choices", limits_.depth);
    if (commuting_ > 0) text += fmt::format(", {} left out as equal to others", commuting_);
    return text;
}

namespace {

constexpr std::string_view frontier_mark = "blockstep-frontier-1";
constexpr std::uint64_t list_max = 50'000'000;

void write(std::string& text, const std::vector<Prefix>& prefixes) {
    text += fmt::format("{}\n", prefixes.size());
    for (const Prefix& prefix : prefixes) {
        text += fmt::format("{} {}", prefix.choices, prefix.departures.size());
        for (const Departure& d : prefix.departures) text += fmt::format(" {} {}", d.choice, d.k);
        text += fmt::format(" {}", prefix.asleep.size());
        for (const Sleeping& s : prefix.asleep) {
            text += fmt::format(" {} {} {}", s.id, s.turn, s.touched.size());
            for (const Touch& touch : s.touched)
                text += fmt::format(" {} {}", touch.subject,
                                    static_cast<unsigned>(touch.access));
        }
        text += '\n';
    }
}

class Numbers {
public:
    explicit Numbers(std::string_view text) : text_(text) {}
    bool failed() const { return failed_; }
    template <class T>
    T take(std::uint64_t max = std::numeric_limits<T>::max()) {
        while (!text_.empty() && (text_[0] == ' ' || text_[0] == '\n')) text_.remove_prefix(1);
        std::uint64_t value = 0;
        const auto [end, error] =
            std::from_chars(text_.data(), text_.data() + text_.size(), value);
        if (error != std::errc() || value > max) failed_ = true;
        if (failed_) return 0;
        text_.remove_prefix(static_cast<std::size_t>(end - text_.data()));
        return static_cast<T>(value);
    }
    std::vector<Prefix> prefixes() {
        std::vector<Prefix> all;
        for (auto n = take<std::uint64_t>(list_max); n > 0 && !failed_; --n) {
            Prefix& prefix = all.emplace_back();
            prefix.choices = take<std::uint32_t>();
            for (auto d = take<std::uint64_t>(list_max); d > 0 && !failed_; --d) {
                const auto choice = take<std::uint32_t>();
                prefix.departures.push_back({choice, take<std::uint32_t>()});
            }
            for (auto s = take<std::uint64_t>(list_max); s > 0 && !failed_; --s)
                prefix.asleep.push_back(sleeping());
        }
        return all;
    }

private:
    Sleeping sleeping() {
        Sleeping one{take<std::uint64_t>(), 0, {}};
        one.turn = take<std::uint32_t>();
        for (auto t = take<std::uint64_t>(list_max); t > 0 && !failed_; --t) {
            const auto subject = take<std::uint64_t>();
            one.touched.push_back({subject, static_cast<Access>(take<std::uint8_t>(1))});
        }
        return one;
    }
    std::string_view text_;
    bool failed_ = false;
};

}  // namespace

std::string to_text(const std::vector<Prefix>& prefixes) {
    std::string text;
    write(text, prefixes);
    return text;
}

Expected<std::vector<Prefix>, std::string> parse_prefixes(std::string_view text) {
    Numbers numbers(text);
    std::vector<Prefix> prefixes = numbers.prefixes();
    if (numbers.failed()) return Unexpected(std::string("damaged prefixes"));
    return prefixes;
}

std::string to_text(const Portion& portion) {
    return fmt::format("{} {} {}", portion.from, portion.to, to_text(std::vector{portion.parent}));
}

Expected<Portion, std::string> parse_portion(std::string_view text) {
    Numbers numbers(text);
    Portion portion{{}, numbers.take<std::uint32_t>(), 0};
    portion.to = numbers.take<std::uint32_t>();
    std::vector<Prefix> parents = numbers.prefixes();
    if (numbers.failed() || parents.size() != 1)
        return Unexpected(std::string("a damaged portion"));
    portion.parent = std::move(parents[0]);
    return portion;
}

std::string Frontier::to_text() const {
    std::string text = fmt::format("{}\n{} {} {} {} {} {} {} {} {}\n", frontier_mark,
                                   limits_.departures, limits_.preemptions, limits_.depth, level_,
                                   started_ ? 1 : 0, runs_, commuting_, parent_, from_);
    write(text, parents_);
    write(text, children_);
    return text;
}

Expected<Frontier, std::string> Frontier::parse(std::string_view text) {
    if (!text.starts_with(frontier_mark)) return Unexpected(std::string("not a frontier"));
    Numbers numbers(text.substr(frontier_mark.size()));
    Frontier frontier;
    frontier.limits_.departures = numbers.take<std::uint32_t>();
    frontier.limits_.preemptions = numbers.take<std::uint32_t>();
    frontier.limits_.depth = numbers.take<std::uint32_t>();
    frontier.level_ = numbers.take<std::uint32_t>();
    frontier.started_ = numbers.take<std::uint8_t>(1) != 0;
    frontier.runs_ = numbers.take<std::uint64_t>();
    frontier.commuting_ = numbers.take<std::uint64_t>();
    frontier.parent_ = numbers.take<std::size_t>();
    frontier.from_ = numbers.take<std::uint32_t>();
    frontier.parents_ = numbers.prefixes();
    frontier.children_ = numbers.prefixes();
    if (numbers.failed() || frontier.parent_ > frontier.parents_.size())
        return Unexpected(std::string("a damaged frontier"));
    return frontier;
}

}  // namespace sim::explore
