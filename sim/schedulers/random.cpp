// SPDX-License-Identifier: Apache-2.0
// Seeded random walk: every answer equally likely.
#include "sim/rng.hpp"
#include "sim/schedule.hpp"

namespace sim {
namespace {

class Random final : public Schedule {
public:
    explicit Random(std::uint64_t seed) : stream_(seed, "schedule"), faults_(seed, "faults") {}

    std::uint32_t choose(std::uint32_t n, Label) override {
        return static_cast<std::uint32_t>(stream_.below(n));
    }

    std::uint32_t pick(std::span<const Candidate> ready) override {
        return stream_.pick(static_cast<std::uint32_t>(ready.size()));
    }
    RandomStream* uniform() override { return &stream_; }

    std::uint32_t fault(std::uint32_t n, Label) override {
        if (!faults_.chance(1, fault_odds)) return 0;
        return 1 + static_cast<std::uint32_t>(faults_.below(n - 1));
    }

private:
    RandomStream stream_;
    RandomStream faults_;
};

}  // namespace

std::unique_ptr<Schedule> random_schedule(std::uint64_t seed) {
    return std::make_unique<Random>(seed);
}

}  // namespace sim
