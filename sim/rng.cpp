// SPDX-License-Identifier: Apache-2.0
#include "sim/rng.hpp"

#include "sim/check.hpp"

namespace sim {
namespace {

std::uint64_t splitmix(std::uint64_t& state) {
    std::uint64_t z = state += 0x9e3779b97f4a7c15U;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
}

}  // namespace

RandomStream::RandomStream(std::uint64_t start) {
    std::uint64_t state = start;
    for (std::uint64_t& word : state_) word = splitmix(state);
    next_ = scramble();
}

std::int64_t RandomStream::between(std::int64_t low, std::int64_t high) {
    EXPECTS(low <= high);
    const auto span = static_cast<std::uint64_t>(high) - static_cast<std::uint64_t>(low);
    if (span == UINT64_MAX) return static_cast<std::int64_t>(next());
    return static_cast<std::int64_t>(static_cast<std::uint64_t>(low) + below(span + 1));
}

bool RandomStream::chance(std::uint64_t numerator, std::uint64_t denominator) {
    return below(denominator) < numerator;
}

}  // namespace sim
