// SPDX-License-Identifier: Apache-2.0
// Seeded random walk: every answer equally likely.
#include "sim/rng.hpp"
#include "sim/schedule.hpp"

namespace sim {
namespace {

class Random final : public Schedule {
public:
    explicit Random(std::uint64_t seed) : stream_(seed, "schedule") {}
    std::uint32_t choose(std::uint32_t n, Label) override {
        return static_cast<std::uint32_t>(stream_.below(n));
    }

private:
    RandomStream stream_;
};

}  // namespace

std::unique_ptr<Schedule> random_schedule(std::uint64_t seed) {
    return std::make_unique<Random>(seed);
}

}  // namespace sim
