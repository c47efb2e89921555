// SPDX-License-Identifier: Apache-2.0
// Few: first in first out, but for a few events that run before their turn, at random moments, and
// at most as many faults. Most bugs need no more, and what it finds needs little shrinking.
//
// source  Emmi, Qadeer, Rakamaric: Delay-Bounded Scheduling (POPL 2011), for the idea of a bound on
//         departures from one deterministic order.
#include <algorithm>

#include "sim/check.hpp"
#include "sim/rng.hpp"
#include "sim/schedule.hpp"

namespace sim {
namespace {

class Few final : public Schedule {
public:
    Few(std::uint64_t seed, std::uint32_t moves, std::uint64_t picks)
        : stream_(seed, "few"), faults_left_(moves) {
        EXPECTS(picks > 0);
        for (std::uint32_t i = 0; i < moves; ++i) moments_.push_back(1 + stream_.below(picks));
        std::sort(moments_.begin(), moments_.end());
    }

    // Values are few and scenarios put them where they matter: all are drawn.
    std::uint32_t choose(std::uint32_t n, Label) override {
        return static_cast<std::uint32_t>(stream_.below(n));
    }

    std::uint32_t pick(std::span<const Candidate> ready) override {
        if (next_ == moments_.size() || ++picks_ < moments_[next_]) return 0;
        ++next_;
        return 1 + static_cast<std::uint32_t>(stream_.below(ready.size() - 1));
    }

    std::uint32_t fault(std::uint32_t n, Label) override {
        if (faults_left_ == 0 || !stream_.chance(1, fault_odds)) return 0;
        --faults_left_;
        return 1 + static_cast<std::uint32_t>(stream_.below(n - 1));
    }

private:
    RandomStream stream_;
    std::vector<std::uint64_t> moments_;  // counted in picks, rising
    std::size_t next_ = 0;
    std::uint64_t picks_ = 0;
    std::uint32_t faults_left_;
};

}  // namespace

std::unique_ptr<Schedule> few_schedule(std::uint64_t seed, std::uint32_t moves,
                                       std::uint64_t picks) {
    return std::make_unique<Few>(seed, moves, picks);
}

}  // namespace sim
