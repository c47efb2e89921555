// SPDX-License-Identifier: Apache-2.0
// Replay: the answers of an earlier run, one after the other, found again by name.
#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "sim/schedule.hpp"

namespace sim {
namespace {

class Replay final : public Schedule {
public:
    Replay(std::vector<Choice> record, std::uint64_t seed, std::string* diverged)
        : record_(std::move(record)), after_(random_schedule(seed)), diverged_(diverged) {}

    std::uint32_t choose(std::uint32_t n, Label label) override {
        const auto k = next(ChoiceKind::value, n, label);
        return k ? *k : after_->choose(n, label);
    }

    std::uint32_t fault(std::uint32_t n, Label site) override {
        const auto k = next(ChoiceKind::fault, n, site);
        return k ? *k : after_->fault(n, site);
    }

    bool feature(Label name) override {
        return next(ChoiceKind::feature, 2, name).value_or(0) == 0;
    }

    bool keep(Label operation) override {
        return next(ChoiceKind::operation, 2, operation).value_or(0) == 0;
    }

    // The event of the recorded name, at its recorded place if it is there.
    std::uint32_t pick(std::span<const Candidate> ready) override {
        const auto n = static_cast<std::uint32_t>(ready.size());
        if (ordinary()) return ++next_, 0;
        if (next_ < record_.size() && record_[next_].kind == ChoiceKind::order) {
            const Choice& choice = record_[next_];
            const auto same = [&](const Candidate& event) {
                return event.label.hash() == choice.label.hash();
            };
            if (choice.k < n && same(ready[choice.k])) return ++next_, choice.k;
            const auto found = std::find_if(ready.begin(), ready.end(), same);
            if (found != ready.end()) {
                ++next_;
                return static_cast<std::uint32_t>(found - ready.begin());
            }
        }
        lose(fmt::format("order of {} events, '{}' the first", n, ready[0].label.name()));
        return after_->pick(ready);
    }

private:
    bool ordinary() const { return next_ < record_.size() && record_[next_].n == 0; }

    std::optional<std::uint32_t> next(ChoiceKind kind, std::uint32_t n, Label label) {
        if (next_ < record_.size()) {
            const Choice& choice = record_[next_];
            if (ordinary()) return ++next_, 0;
            if (choice.kind == kind && choice.k < n && choice.label.hash() == label.hash())
                return record_[next_++].k;
        }
        lose(fmt::format("{} '{}' of {}", to_text(kind), label.name(), n));
        return std::nullopt;
    }

    // From here on the record is no help.
    void lose(const std::string& asked) {
        if (!lost_ && diverged_ != nullptr) {
            if (next_ == record_.size())
                *diverged_ = fmt::format("the record ends after {} choices; the run asked for {}",
                                         next_, asked);
            else
                *diverged_ = fmt::format(
                    "choice {} of the record is {} '{}' ({} of {}); the run asked for {}",
                    next_ + 1, to_text(record_[next_].kind), record_[next_].label.name(),
                    record_[next_].k, record_[next_].n, asked);
        }
        lost_ = true;
        next_ = record_.size();
    }

    std::vector<Choice> record_;
    std::size_t next_ = 0;
    bool lost_ = false;
    std::unique_ptr<Schedule> after_;
    std::string* diverged_;
};

}  // namespace

std::unique_ptr<Schedule> replay_schedule(std::vector<Choice> record, std::uint64_t seed,
                                          std::string* diverged) {
    return std::make_unique<Replay>(std::move(record), seed, diverged);
}

}  // namespace sim
