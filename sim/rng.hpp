// SPDX-License-Identifier: Apache-2.0
// Random numbers: one seed for a world, split by name, so that a new consumer shifts no other.
//
// source  xoshiro256** and splitmix64 (Blackman, Vigna: public domain descriptions).
#pragma once
#include <array>
#include <cstdint>
#include <string_view>

namespace sim {

class RandomStream {
public:
    RandomStream(std::uint64_t seed, std::string_view name);

    std::uint64_t next();
    // Uniform in [0, bound); bound > 0.
    std::uint64_t below(std::uint64_t bound);
    // Uniform in [low, high], both included.
    std::int64_t between(std::int64_t low, std::int64_t high);
    // True with probability numerator / denominator.
    bool chance(std::uint64_t numerator, std::uint64_t denominator);

private:
    std::array<std::uint64_t, 4> state_;
};

}  // namespace sim
