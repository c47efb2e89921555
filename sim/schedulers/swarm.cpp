// SPDX-License-Identifier: Apache-2.0
// Swarm: each run draws a configuration of its own, which features it has and which fault sites
// may fire and how often. Runs that lack a feature reach what it hides in the others.
//
// source  Groce, Zhang, Eide, Chen, Regehr: Swarm Testing (ISSTA 2012).
#include "sim/rng.hpp"
#include "sim/schedule.hpp"

namespace sim {
namespace {

class Swarm final : public Schedule {
public:
    Swarm(std::uint64_t seed, std::unique_ptr<Schedule> order)
        : order_(std::move(order)), faults_(seed, "swarm faults") {
        RandomStream stream(seed, "swarm");
        salt_ = stream.next();
        constexpr std::uint32_t odds[] = {2, 8, 32, 128};
        fault_odds_ = odds[stream.below(4)];
    }

    std::uint32_t choose(std::uint32_t n, Label label) override {
        return order_->choose(n, label);
    }
    std::uint32_t pick(std::span<const Candidate> ready) override { return order_->pick(ready); }
    RandomStream* uniform() override { return order_->uniform(); }

    std::uint32_t fault(std::uint32_t n, Label site) override {
        if (!drawn(site) || !faults_.chance(1, fault_odds_)) return 0;
        return 1 + static_cast<std::uint32_t>(faults_.below(n - 1));
    }

    bool feature(Label name) override { return drawn(name); }

private:
    // A function of the run and the name alone: it does not matter who asks first, or how often.
    bool drawn(Label name) const {
        std::uint64_t z = name.hash() ^ salt_;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
        return ((z ^ (z >> 31)) & 1) != 0;
    }

    std::unique_ptr<Schedule> order_;
    RandomStream faults_;
    std::uint64_t salt_;
    std::uint32_t fault_odds_;
};

}  // namespace

std::unique_ptr<Schedule> swarm_schedule(std::uint64_t seed, std::unique_ptr<Schedule> order) {
    return std::make_unique<Swarm>(seed, std::move(order));
}

}  // namespace sim
