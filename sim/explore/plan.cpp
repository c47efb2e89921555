// SPDX-License-Identifier: Apache-2.0
#include "sim/explore/plan.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <tuple>

namespace sim::explore {
namespace {

using Question = std::tuple<ChoiceKind, std::uint64_t>;  // kind, hash of the label

// Which of the events keep their place: a longest run of rising arrivals.
std::vector<bool> in_line(const std::vector<RunLog::Ran>& ran) {
    std::vector<std::size_t> tails;  // of rising runs, by length
    std::vector<std::size_t> before(ran.size(), SIZE_MAX);
    for (std::size_t i = 0; i < ran.size(); ++i) {
        const auto at = std::lower_bound(
            tails.begin(), tails.end(), ran[i].arrival,
            [&](std::size_t tail, std::uint64_t arrival) {
                return ran[tail].arrival < arrival;
            });
        if (at != tails.begin()) before[i] = *(at - 1);
        if (at == tails.end())
            tails.push_back(i);
        else
            *at = i;
    }
    std::vector<bool> stays(ran.size(), false);
    for (std::size_t i = tails.empty() ? SIZE_MAX : tails.back(); i != SIZE_MAX; i = before[i])
        stays[i] = true;
    return stays;
}

class Planned final : public Schedule, StepWatcher {
public:
    Planned(const Plan& plan, std::unique_ptr<Schedule> order) : order_(std::move(order)) {
        for (const Move& move : plan.moves) {
            moves_.push_back({move, move.after == EventName() ? State::due : State::held});
            by_event_.emplace(move.event.hash(), moves_.size() - 1);
            by_after_.emplace(move.after.hash(), moves_.size() - 1);
        }
        for (const Answer& answer : plan.answers)
            answers_[{answer.kind, answer.label.hash(), answer.occurrence}] = answer.k;
    }

    std::uint32_t choose(std::uint32_t n, Label label) override {
        return answer(ChoiceKind::value, n, label);
    }
    std::uint32_t fault(std::uint32_t n, Label site) override {
        return answer(ChoiceKind::fault, n, site);
    }
    bool feature(Label name) override { return answer(ChoiceKind::feature, 2, name) == 0; }
    bool keep(Label operation) override {
        return answer(ChoiceKind::operation, 2, operation) == 0;
    }

    std::uint32_t pick(std::span<const Candidate> ready) override {
        if (order_ != nullptr) return order_->pick(ready);
        std::uint32_t best = 0;
        int rank_of_best = 3;  // 0: its moment has come, 1: not in the plan, 2: held back
        for (std::uint32_t i = 0; i < ready.size(); ++i) {
            const EventName name = namer_.name(ready[i]);
            const Entry* entry = entry_of(name);
            const int rank = entry == nullptr ? 1 : entry->state == State::due ? 0 : 2;
            if (rank >= rank_of_best) continue;
            best = i;
            rank_of_best = rank;
        }
        return best;
    }

    StepWatcher* watcher() override { return this; }
    void begins(const Step& step) override {
        EventName name;
        if (!namer_.recall(step.id, step.label, step.turn, name)) return;
        const auto next = by_after_.find(name.hash());
        if (next != by_after_.end() && moves_[next->second].move.after == name)
            moves_[next->second].state = State::due;
    }
    void ends(std::span<const Touch>) override {}

private:
    enum class State : std::uint8_t { held, due };
    struct Entry {
        Move move;
        State state;
    };

    const Entry* entry_of(const EventName& name) const {
        const auto found = by_event_.find(name.hash());
        if (found == by_event_.end()) return nullptr;
        const Entry& entry = moves_[found->second];
        return entry.move.event == name ? &entry : nullptr;
    }

    std::uint32_t answer(ChoiceKind kind, std::uint32_t n, Label label) {
        const std::uint32_t occurrence = asked_[{kind, label.hash()}]++;
        const auto found = answers_.find({kind, label.hash(), occurrence});
        return found != answers_.end() && found->second < n ? found->second : 0;
    }

    std::unique_ptr<Schedule> order_;
    Namer namer_;
    std::vector<Entry> moves_;
    std::unordered_map<std::uint64_t, std::size_t> by_event_, by_after_;
    std::map<std::tuple<ChoiceKind, std::uint64_t, std::uint32_t>, std::uint32_t> answers_;
    std::map<Question, std::uint32_t> asked_;
};

class Forced final : public Schedule {
public:
    explicit Forced(std::vector<std::uint32_t> answers) : answers_(std::move(answers)) {}
    std::uint32_t choose(std::uint32_t n, Label) override { return next(n); }
    std::uint32_t pick(std::span<const Candidate> ready) override {
        return next(static_cast<std::uint32_t>(ready.size()));
    }
    std::uint32_t fault(std::uint32_t n, Label) override { return next(n); }
    bool feature(Label) override { return next(2) == 0; }
    bool keep(Label) override { return next(2) == 0; }

private:
    std::uint32_t next(std::uint32_t n) {
        const std::uint32_t k = next_ < answers_.size() ? answers_[next_] : 0;
        ++next_;
        return k < n ? k : 0;
    }
    std::vector<std::uint32_t> answers_;
    std::size_t next_ = 0;
};

}  // namespace

std::size_t Plan::count(ChoiceKind kind) const {
    if (kind == ChoiceKind::order) return moves.size();
    return static_cast<std::size_t>(std::count_if(
        answers.begin(), answers.end(), [&](const Answer& a) { return a.kind == kind; }));
}

Plan plan_of(const RunLog& log) {
    Plan plan;
    // A run may end while events wait that others overtook.
    std::vector<RunLog::Ran> line = log.ran;
    line.insert(line.end(), log.line.begin(), log.line.end());
    const std::vector<bool> stays = in_line(line);
    for (std::size_t i = 0; i < line.size(); ++i)
        if (!stays[i])
            plan.moves.push_back({line[i].name, i == 0 ? EventName() : line[i - 1].name});
    std::map<Question, std::uint32_t> asked;
    for (const Choice& choice : log.choices) {
        if (choice.kind == ChoiceKind::order) continue;
        const std::uint32_t occurrence = asked[{choice.kind, choice.label.hash()}]++;
        if (choice.k != 0)
            plan.answers.push_back({choice.kind, choice.label, occurrence, choice.k});
    }
    return plan;
}

std::unique_ptr<Schedule> plan_schedule(const Plan& plan, std::unique_ptr<Schedule> order) {
    return std::make_unique<Planned>(plan, std::move(order));
}

std::unique_ptr<Schedule> forced_schedule(std::vector<std::uint32_t> answers) {
    return std::make_unique<Forced>(std::move(answers));
}

std::string to_text(const EventName& name) {
    std::string text = fmt::format("'{}'", name.label.name());
    if (name.ordinal > 0) text += fmt::format(" no. {}", name.ordinal + 1);
    if (name.turn > 0) text += fmt::format(" turn {}", name.turn + 1);
    return text;
}

}  // namespace sim::explore
