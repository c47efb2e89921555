// SPDX-License-Identifier: Apache-2.0
// Random numbers: one seed for a world, split by name, so that a new consumer shifts no other.
//
// source  xoshiro256** and splitmix64 (Blackman, Vigna: public domain descriptions).
#pragma once
#include <array>
#include <bit>
#include <cstdint>
#include <string_view>

#include "sim/check.hpp"
#include "sim/label.hpp"

namespace sim {

class RandomStream {
public:
    RandomStream(std::uint64_t seed, std::string_view name)
        : RandomStream(seed ^ hash_text(name)) {}
    explicit RandomStream(std::uint64_t start);

    std::uint64_t next() {
        const std::uint64_t result = next_;
        const std::uint64_t t = state_[1] << 17;
        state_[2] ^= state_[0];
        state_[3] ^= state_[1];
        state_[1] ^= state_[2];
        state_[0] ^= state_[3];
        state_[2] ^= t;
        state_[3] = std::rotl(state_[3], 45);
        next_ = scramble();
        return result;
    }
    // Uniform in [0, bound); bound > 0.
    std::uint64_t below(std::uint64_t bound) {
        EXPECTS(bound > 0);
        // Rejection keeps it uniform; at most one retry on average. The limit is above MAX - bound,
        // so few draws need to know it.
        std::uint64_t draw = next();
        while (draw > UINT64_MAX - bound && draw >= UINT64_MAX - UINT64_MAX % bound) [[unlikely]]
            draw = next();
        return draw % bound;
    }
    // Below n, uniform to within n in 2^32: for picks by the hundred, which a division would slow.
    std::uint32_t pick(std::uint32_t n) {
        return static_cast<std::uint32_t>((next() >> 32) * n >> 32);
    }
    // Uniform in [low, high], both included.
    std::int64_t between(std::int64_t low, std::int64_t high);
    // True with probability numerator / denominator.
    bool chance(std::uint64_t numerator, std::uint64_t denominator);

private:
    std::uint64_t scramble() const { return std::rotl(state_[1] * 5, 7) * 9; }

    std::array<std::uint64_t, 4> state_;
    std::uint64_t next_;  // there already, so that who draws has not to wait for it
};

}  // namespace sim
