// SPDX-License-Identifier: Apache-2.0
#include "sim/explore/run_log.hpp"

#include <algorithm>
#include <utility>

namespace sim::explore {

EventName Namer::name(const Candidate& event) {
    const auto [found, fresh] = ordinals_.try_emplace(event.id, 0);
    if (fresh) found->second = counts_[event.label.hash()]++;
    return {event.label, found->second, event.turn};
}

bool Namer::recall(std::uint64_t id, Label label, std::uint32_t turn, EventName& name) const {
    const auto found = ordinals_.find(id);
    if (found == ordinals_.end()) return false;
    name = {label, found->second, turn};
    return true;
}

namespace {

class Recorder final : public Schedule, StepWatcher {
public:
    Recorder(std::unique_ptr<Schedule> inner, RunLog& log) : inner_(std::move(inner)), log_(log) {}

    std::uint32_t choose(std::uint32_t n, Label label) override {
        return note(ChoiceKind::value, label, n, inner_->choose(n, label));
    }
    std::uint32_t fault(std::uint32_t n, Label site) override {
        return note(ChoiceKind::fault, site, n, inner_->fault(n, site));
    }
    bool feature(Label name) override {
        return note(ChoiceKind::feature, name, 2, inner_->feature(name) ? 0 : 1) == 0;
    }
    bool keep(Label operation) override {
        return note(ChoiceKind::operation, operation, 2, inner_->keep(operation) ? 0 : 1) == 0;
    }

    std::uint32_t pick(std::span<const Candidate> ready) override {
        line_up(ready);
        const std::uint32_t k = inner_->pick(ready);
        log_.ran.push_back({line()[k].name, line()[k].arrival, log_.choices.size()});
        note(ChoiceKind::order, ready[k].label, static_cast<std::uint32_t>(ready.size()), k);
        line().erase(line().begin() + k);
        picked_ = true;
        return k;
    }

    StepWatcher* watcher() override { return this; }
    void begins(const Step& step) override {
        if (StepWatcher* inner = inner_->watcher()) inner->begins(step);
        if (!std::exchange(picked_, false)) last_one_left(step);
        log_.steps.push_back(step);
    }
    void ends(std::span<const Touch> touched) override {
        if (StepWatcher* inner = inner_->watcher()) inner->ends(touched);
    }
    void left() override {
        if (StepWatcher* inner = inner_->watcher()) inner->left();
    }

private:
    std::vector<RunLog::Waiting>& line() { return log_.line; }

    std::uint32_t note(ChoiceKind kind, Label label, std::uint32_t n, std::uint32_t k) {
        log_.choices.push_back({label, n, k, kind});
        log_.choice_step.push_back(log_.steps.size());
        return k;
    }

    // Makes the line the ready events with their arrivals: those known from before come first, in
    // the same order; of them some may have run alone or been cancelled meanwhile.
    void line_up(std::span<const Candidate> ready) {
        std::size_t known = 0;
        std::vector<RunLog::Waiting> now;
        for (const Candidate& event : ready) {
            std::size_t at = known;
            while (at < line().size() &&
                   (line()[at].id != event.id || line()[at].turn != event.turn))
                ++at;
            const bool fresh = at == line().size();
            now.push_back({{namer_.name(event), fresh ? arrivals_++ : line()[at].arrival,
                            RunLog::no_choice},
                           event.id,
                           event.turn});
            if (!fresh) known = at + 1;
        }
        line() = std::move(now);
    }

    void last_one_left(const Step& step) {
        const auto found =
            std::find_if(line().begin(), line().end(), [&](const RunLog::Waiting& waiting) {
                return waiting.id == step.id && waiting.turn == step.turn;
            });
        if (found == line().end()) return;
        log_.ran.push_back(*found);
        line().erase(found);
    }

    std::unique_ptr<Schedule> inner_;
    RunLog& log_;
    Namer namer_;
    std::uint64_t arrivals_ = 0;
    bool picked_ = false;
};

}  // namespace

std::unique_ptr<Schedule> recorder(std::unique_ptr<Schedule> inner, RunLog& log) {
    return std::make_unique<Recorder>(std::move(inner), log);
}

}  // namespace sim::explore
