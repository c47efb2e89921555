// SPDX-License-Identifier: Apache-2.0
#include "blocklayer/drivers/formats/qcow2/crash/expectation.hpp"

#include <algorithm>
#include <cstring>

#include "sim/check.hpp"

namespace blocklayer::qcow2::crash {
namespace {

constexpr std::uint64_t multiplier = 0x9e3779b97f4a7c15;

std::uint64_t mix(std::uint64_t state, std::uint64_t word) {
    state = (state ^ word) * multiplier;
    return state ^ state >> 29;
}

// A sector is this word all over, so that a torn or a misplaced one is nobody's.
std::uint64_t word_of(std::uint64_t sector, Tag tag) {
    return tag == tag_zero ? 0 : std::uint64_t{tag} << 56 | (sector + 1) * 0x10001;
}

}  // namespace

void fill_sector(std::span<std::byte> bytes, std::uint64_t sector, Tag tag) {
    const std::uint64_t word = word_of(sector, tag);
    for (std::size_t at = 0; at < bytes.size(); at += sizeof word)
        std::memcpy(bytes.data() + at, &word, sizeof word);
}

Tag tag_of(std::span<const std::byte> bytes, std::uint64_t sector) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data(), sizeof word);
    if (std::memcmp(bytes.data(), bytes.data() + sizeof word, bytes.size() - sizeof word) != 0)
        return tags_max;
    const auto tag = static_cast<Tag>(word >> 56);
    return tag < tags_max && word == word_of(sector, tag) ? tag : Tag{tags_max};
}

Expectation::Expectation(std::uint64_t sectors) : size_(sectors), sizes_{sectors} {
    reach(sectors);
}

void Expectation::reach(std::uint64_t sectors) {
    if (sectors <= now_.size()) return;
    now_.resize(sectors, tag_zero);
    allowed_.resize(sectors, TagMask{1} << tag_zero);
}

void Expectation::may_become(std::uint64_t first, std::uint64_t count, Tag tag) {
    EXPECTS(tag < tags_max);
    reach(first + count);
    for (std::uint64_t i = first; i < first + count; ++i) allowed_[i] |= TagMask{1} << tag;
}

void Expectation::is_now(std::uint64_t sector, Tag tag) {
    EXPECTS(tag < tags_max && sector < now_.size());
    now_[sector] = tag;
    allowed_[sector] |= TagMask{1} << tag;
}

void Expectation::may_have_size(std::uint64_t sectors) {
    sizes_.insert(sectors);
    reach(sectors);
}

void Expectation::has_size(std::uint64_t sectors) {
    may_have_size(sectors);
    size_ = sectors;
}

void Expectation::flushed() {
    for (std::size_t i = 0; i < now_.size(); ++i) allowed_[i] = TagMask{1} << now_[i];
    sizes_ = {size_};
}

std::uint64_t Expectation::hash() const {
    std::uint64_t state = hash_bytes(std::as_bytes(std::span(allowed_)), 1);
    for (const std::uint64_t size : sizes_) state = mix(state, size);
    return state;
}

std::uint64_t hash_bytes(std::span<const std::byte> bytes, std::uint64_t seed) {
    // Four chains, so that the processor need not wait for each multiplication.
    std::uint64_t lanes[4] = {seed, seed + 1, seed + 2, seed + 3}, word = 0;
    std::size_t at = 0;
    for (; at + 32 <= bytes.size(); at += 32)
        for (unsigned i = 0; i < 4; ++i) {
            std::memcpy(&word, bytes.data() + at + i * 8, sizeof word);
            lanes[i] = mix(lanes[i], word);
        }
    for (; at < bytes.size(); ++at)
        lanes[0] = mix(lanes[0], static_cast<std::uint64_t>(bytes[at]));
    std::uint64_t state = bytes.size();
    for (const std::uint64_t lane : lanes) state = mix(state, lane);
    return state;
}

}  // namespace blocklayer::qcow2::crash
