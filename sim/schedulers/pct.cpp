// SPDX-License-Identifier: Apache-2.0
// Probabilistic concurrency testing: the ready event with the highest priority runs, priorities are
// random, and at depth-1 random moments the one about to run falls behind all others. A bug that
// needs `depth` ordering constraints among n fibers and k picks is hit by one run with probability
// at least 1 / (n * k^(depth-1)).
//
// source  Burckhardt, Kothari, Musuvathi, Nagarakatte: A Randomized Scheduler with Probabilistic
//         Guarantees of Finding Bugs (ASPLOS 2010).
#include <algorithm>

#include "sim/check.hpp"
#include "sim/rng.hpp"
#include "sim/schedule.hpp"

namespace sim {
namespace {

class Pct final : public Schedule {
public:
    Pct(std::uint64_t seed, std::uint32_t depth, std::uint64_t picks)
        : salt_(RandomStream(seed, "pct priorities").next()), choices_(seed, "pct choices") {
        EXPECTS(depth > 0 && picks > 0);
        RandomStream moments(seed, "pct moments");
        for (std::uint32_t i = 1; i < depth; ++i) moments_.push_back(1 + moments.below(picks));
        std::sort(moments_.begin(), moments_.end());
    }

    std::uint32_t choose(std::uint32_t n, Label) override {
        return static_cast<std::uint32_t>(choices_.below(n));
    }

    std::uint32_t fault(std::uint32_t n, Label) override {
        if (!choices_.chance(1, fault_odds)) return 0;
        return 1 + static_cast<std::uint32_t>(choices_.below(n - 1));
    }

    std::uint32_t pick(std::span<const Candidate> ready) override {
        ++picks_;
        std::uint32_t best = highest(ready);
        while (next_moment_ < moments_.size() && picks_ >= moments_[next_moment_]) {
            ++next_moment_;
            const std::uint64_t id = ready[best].id;
            std::erase(fallen_, id);
            fallen_.push_back(id);
            best = highest(ready);
        }
        return best;
    }

private:
    // Those who fell behind rank below all others, the later the lower. The others' priority is a
    // function of the id, so that nothing is kept for the many that only come and go.
    std::uint64_t priority(std::uint64_t id) const {
        const auto fallen = std::find(fallen_.begin(), fallen_.end(), id);
        if (fallen != fallen_.end()) return static_cast<std::uint64_t>(fallen_.end() - fallen);
        std::uint64_t z = (id + salt_) * 0x9e3779b97f4a7c15U;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
        return z | std::uint64_t{1} << 63;
    }

    std::uint32_t highest(std::span<const Candidate> ready) const {
        std::uint32_t best = 0;
        for (std::uint32_t i = 1; i < ready.size(); ++i)
            if (priority(ready[i].id) > priority(ready[best].id)) best = i;
        return best;
    }

    std::uint64_t salt_;
    RandomStream choices_;
    std::vector<std::uint64_t> moments_;  // counted in picks, rising
    std::size_t next_moment_ = 0;
    std::uint64_t picks_ = 0;
    std::vector<std::uint64_t> fallen_;  // ids, at most depth-1
};

}  // namespace

std::unique_ptr<Schedule> pct_schedule(std::uint64_t seed, std::uint32_t depth,
                                       std::uint64_t picks) {
    return std::make_unique<Pct>(seed, depth, picks);
}

}  // namespace sim
