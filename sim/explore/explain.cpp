// SPDX-License-Identifier: Apache-2.0
#include "sim/explore/explain.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>

namespace sim::explore {
namespace {

constexpr std::size_t shown_before = 3, shown_after = 9;

struct Line {
    std::uint64_t step;
    std::uint64_t id;  // of what ran; 0: an answer
    std::uint32_t turn;
    std::string text;
    bool operator==(const Line&) const = default;
};

void add_answer(std::vector<Line>& lines, std::uint64_t step, const Choice& choice) {
    if (choice.kind == ChoiceKind::order || choice.k == 0) return;
    lines.push_back({step, 0, choice.k,
                     fmt::format("        {}: {}", to_text(choice.kind), choice.label.name())});
}

// The steps of a run, with what was out of the ordinary in each.
std::vector<Line> lines_of(const RunLog& log) {
    std::vector<Line> lines;
    std::size_t choice = 0;
    for (std::size_t i = 0; i <= log.steps.size(); ++i) {
        for (; choice < log.choices.size() && log.choice_step[choice] <= i; ++choice)
            add_answer(lines, i, log.choices[choice]);
        if (i == log.steps.size()) break;
        const Step& step = log.steps[i];
        const std::string_view doing = step.doing.name();
        std::string text = fmt::format("{:>6}  {}", step.number, step.label.name());
        if (!doing.empty()) text += fmt::format(" ({})", doing);
        lines.push_back({i + 1, step.id, step.turn, std::move(text)});
    }
    return lines;
}

std::size_t first_difference(const std::vector<Line>& a, const std::vector<Line>& b) {
    std::size_t i = 0;
    while (i < a.size() && i < b.size() && a[i] == b[i]) ++i;
    return i;
}

std::vector<std::string> around(const std::vector<Line>& lines, std::size_t at) {
    std::vector<std::string> shown;
    for (std::size_t i = at > shown_before ? at - shown_before : 0;
         i < std::min(lines.size(), at + shown_after); ++i)
        shown.push_back(lines[i].text);
    return shown;
}

// The move in words: what ran before what.
std::string describe(const Move& move, const RunLog& log, std::size_t& picked) {
    std::vector<RunLog::Ran> line = log.ran;
    line.insert(line.end(), log.line.begin(), log.line.end());
    picked = 0;
    while (picked < line.size() && !(line[picked].name == move.event)) ++picked;
    if (picked >= log.ran.size())
        return fmt::format("{} is kept waiting, though it was ready first", to_text(move.event));
    const std::uint64_t arrival = line[picked].arrival;
    for (std::size_t later = picked + 1; later < line.size(); ++later)
        if (line[later].arrival < arrival)
            return fmt::format("{} runs before {}, which was ready first", to_text(move.event),
                               to_text(line[later].name));
    return fmt::format("{} has to wait until after {}, though it was ready first",
                       to_text(move.event), to_text(move.after));
}

class Explainer {
public:
    Explainer(const Trial& trial, const Shrunk& shrunk, const ExplainOptions& options)
        : trial_(trial), shrunk_(shrunk), options_(options), failing_(lines_of(shrunk.log)) {}

    Explanation explain() {
        for (std::size_t i = 0; i < shrunk_.plan.moves.size() && more(); ++i) without_move(i);
        for (std::size_t i = 0; i < shrunk_.plan.answers.size() && more(); ++i) without_answer(i);
        if (!best_.found) flip_from_the_end(options_.runs_max / 3);
        if (!best_.found) hold_back_from_the_end();
        if (!best_.found) leave_out();
        return best_;
    }

private:
    bool more() const {
        return best_.runs < options_.runs_max && (!options_.go_on || options_.go_on());
    }

    // True, and the run is the one to show, if it passes and parts from the failing one later than
    // the best so far.
    bool passes(std::unique_ptr<Schedule> schedule) {
        ++best_.runs;
        RunLog log;
        const Verdict verdict = trial_({shrunk_.seed, recorder(std::move(schedule), log)});
        if (verdict.failed) return false;
        const std::vector<Line> passing = lines_of(log);
        const std::size_t difference = first_difference(failing_, passing);
        if (best_.found && difference <= best_difference_) return false;
        best_.found = true;
        best_difference_ = difference;
        best_.first_difference = difference < failing_.size() ? failing_[difference].step
                                                              : shrunk_.log.steps.size();
        best_.failing_steps = around(failing_, difference);
        best_.passing_steps = around(passing, difference);
        best_.passing = std::move(log.choices);
        return true;
    }

    void name(std::size_t choice, std::string critical) {
        const std::uint64_t begun = shrunk_.log.choice_step[choice];
        const bool order = shrunk_.log.choices[choice].kind == ChoiceKind::order;
        best_.step = order ? begun + 1 : begun;
        const auto& steps = shrunk_.log.steps;
        if (best_.step > 0 && best_.step <= steps.size()) best_.at = steps[best_.step - 1].at;
        best_.critical = std::move(critical);
    }

    void without_move(std::size_t i) {
        Plan plan = shrunk_.plan;
        const Move move = plan.moves[i];
        plan.moves.erase(plan.moves.begin() + std::ptrdiff_t(i));
        if (!passes(plan_schedule(plan))) return;
        std::size_t picked = 0;
        std::string text = describe(move, shrunk_.log, picked);
        name(choice_of(picked), std::move(text));
    }

    // The choice that let the event run, or kept it waiting the last time.
    std::size_t choice_of(std::size_t ran) const {
        const auto& line = shrunk_.log.ran;
        if (line.empty()) return 0;
        ran = std::min(ran, line.size() - 1);
        while (ran > 0 && line[ran].choice == RunLog::no_choice) --ran;
        return line[ran].choice == RunLog::no_choice ? 0 : line[ran].choice;
    }

    void without_answer(std::size_t i) {
        Plan plan = shrunk_.plan;
        const Answer answer = plan.answers[i];
        if (answer.kind == ChoiceKind::operation) return;
        plan.answers.erase(plan.answers.begin() + std::ptrdiff_t(i));
        if (!passes(plan_schedule(plan))) return;
        std::uint32_t occurrence = 0;
        for (std::size_t c = 0; c < shrunk_.log.choices.size(); ++c) {
            const Choice& choice = shrunk_.log.choices[c];
            if (choice.kind != answer.kind || choice.label.hash() != answer.label.hash()) continue;
            if (occurrence++ == answer.occurrence) return name(c, in_words(answer, choice.n));
        }
    }

    static std::string in_words(const Answer& answer, std::uint32_t n) {
        const char* label = answer.label.name();
        if (answer.kind == ChoiceKind::fault)
            return fmt::format("the fault '{}' strikes at its chance no. {}", label,
                               answer.occurrence + 1);
        if (answer.kind == ChoiceKind::feature) return fmt::format("'{}' is left out", label);
        return fmt::format("'{}' (no. {}) is {} of {}", label, answer.occurrence + 1, answer.k, n);
    }

    // The failure needs nothing out of the ordinary: looks for the last choice that avoids it.
    void flip_from_the_end(std::uint64_t runs_max) {
        const auto& choices = shrunk_.log.choices;
        std::vector<std::uint32_t> answers;
        for (const Choice& choice : choices) answers.push_back(choice.k);
        while (!answers.empty()) {
            const std::uint32_t was = answers.back();
            const Choice& choice = choices[answers.size() - 1];
            if (choice.kind != ChoiceKind::operation)
                for (std::uint32_t k = 0; k < choice.n; ++k) {
                    if (k == was) continue;
                    if (!more() || best_.runs >= runs_max) return;
                    answers.back() = k;
                    if (passes(forced_schedule(answers)))
                        return name(answers.size() - 1, flipped(choice));
                }
            answers.pop_back();
        }
    }

    // Or no single answer does: looks for the last event that avoids it by waiting for all others.
    void hold_back_from_the_end() {
        const EventName never{"never", UINT32_MAX, UINT32_MAX};
        const auto& line = shrunk_.log.ran;
        const std::uint64_t runs_max = options_.runs_max - options_.runs_max / 4;
        for (std::size_t i = line.size(); i > 0 && more() && best_.runs < runs_max; --i) {
            const EventName event = line[i - 1].name;
            Plan plan = shrunk_.plan;
            std::erase_if(plan.moves, [&](const Move& move) { return move.event == event; });
            plan.moves.push_back({event, never});
            if (!passes(plan_schedule(plan))) continue;
            return name(choice_of(i - 1),
                        fmt::format("{} runs while others are ready; held back until they are "
                                    "done, it does no harm",
                                    to_text(event)));
        }
    }

    // It fails in every order: then it is for an operation, or a feature, to be left out.
    void leave_out() {
        std::map<std::pair<ChoiceKind, std::uint64_t>, std::uint32_t> asked;
        const auto& choices = shrunk_.log.choices;
        for (std::size_t c = 0; c < choices.size() && more(); ++c) {
            const Choice& choice = choices[c];
            const bool feature = choice.kind == ChoiceKind::feature;
            if (choice.kind != ChoiceKind::operation && !feature) continue;
            const std::uint32_t occurrence = asked[{choice.kind, choice.label.hash()}]++;
            if (choice.k != 0) continue;
            Plan plan = shrunk_.plan;
            plan.answers.push_back({choice.kind, choice.label, occurrence, 1});
            if (passes(plan_schedule(plan)))
                name(c,
                     fmt::format("the {} '{}' (no. {}) is {}", feature ? "feature" : "operation",
                                 choice.label.name(), occurrence + 1, feature ? "there" : "done"));
        }
    }

    static std::string flipped(const Choice& choice) {
        if (choice.kind == ChoiceKind::order)
            return fmt::format("'{}' runs before the others that are ready", choice.label.name());
        return fmt::format("{} '{}' is {} of {}", to_text(choice.kind), choice.label.name(),
                           choice.k, choice.n);
    }

    const Trial& trial_;
    const Shrunk& shrunk_;
    const ExplainOptions& options_;
    std::vector<Line> failing_;
    Explanation best_;
    std::size_t best_difference_ = 0;
};

}  // namespace

Explanation explain(const Trial& trial, const Shrunk& shrunk, const ExplainOptions& options) {
    return Explainer(trial, shrunk, options).explain();
}

}  // namespace sim::explore
