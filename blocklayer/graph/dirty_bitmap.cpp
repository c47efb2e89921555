// SPDX-License-Identifier: Apache-2.0
#include "blocklayer/graph/dirty_bitmap.hpp"

#include <algorithm>
#include <bit>

#include "sim/check.hpp"

namespace blocklayer {
namespace {

constexpr std::uint64_t word_bits = 64;

std::uint64_t granules(std::uint64_t length, std::uint32_t granularity) {
    return length / granularity + (length % granularity != 0 ? 1 : 0);
}

// The bits of one word from bit `low` up to, not including, bit `high`.
std::uint64_t mask(std::uint64_t low, std::uint64_t high) {
    const std::uint64_t below =
        high == word_bits ? ~std::uint64_t{0} : (std::uint64_t{1} << high) - 1;
    return below & (~std::uint64_t{0} << low);
}

// Calls f(word index, mask) for the bits first .. last, both included.
template <class F>
void for_words(std::uint64_t first, std::uint64_t last, F&& f) {
    for (std::uint64_t word = first / word_bits; word <= last / word_bits; ++word) {
        const std::uint64_t low = word == first / word_bits ? first % word_bits : 0;
        const std::uint64_t high = word == last / word_bits ? last % word_bits + 1 : word_bits;
        f(word, mask(low, high));
    }
}

}  // namespace

DirtyBitmap::DirtyBitmap(std::string name, std::uint64_t length, std::uint32_t granularity)
    : name_(std::move(name)), length_(length), granularity_(granularity) {
    EXPECTS(std::has_single_bit(granularity));
    words_.resize(granules(granules(length, granularity), word_bits));
}

void DirtyBitmap::set(std::uint64_t offset, std::uint64_t length) {
    if (length == 0 || offset >= length_) return;
    const std::uint64_t end = std::min(length_ - offset, length) + offset;
    for_words(offset / granularity_, (end - 1) / granularity_,
              [&](std::uint64_t word, std::uint64_t bits) {
                  dirty_ += static_cast<std::uint64_t>(std::popcount(bits & ~words_[word]));
                  words_[word] |= bits;
              });
    if (on_set) on_set();
}

void DirtyBitmap::clear(std::uint64_t offset, std::uint64_t length) {
    if (length == 0 || offset >= length_) return;
    const std::uint64_t end = std::min(length_ - offset, length) + offset;
    for_words(offset / granularity_, (end - 1) / granularity_,
              [&](std::uint64_t word, std::uint64_t bits) {
                  dirty_ -= static_cast<std::uint64_t>(std::popcount(bits & words_[word]));
                  words_[word] &= ~bits;
              });
}

bool DirtyBitmap::get(std::uint64_t offset) const {
    EXPECTS(offset < length_);
    const std::uint64_t bit = offset / granularity_;
    return (words_[bit / word_bits] >> (bit % word_bits) & 1) != 0;
}

std::optional<std::uint64_t> DirtyBitmap::next_dirty(std::uint64_t offset) const {
    if (offset >= length_) return std::nullopt;
    std::uint64_t word = offset / granularity_ / word_bits;
    std::uint64_t bits = words_[word] & mask(offset / granularity_ % word_bits, word_bits);
    while (bits == 0) {
        if (++word == words_.size()) return std::nullopt;
        bits = words_[word];
    }
    const auto bit = static_cast<std::uint64_t>(std::countr_zero(bits));
    return (word * word_bits + bit) * granularity_;
}

std::uint64_t DirtyBitmap::next_clean(std::uint64_t offset) const {
    if (offset >= length_) return length_;
    std::uint64_t word = offset / granularity_ / word_bits;
    std::uint64_t bits = ~words_[word] & mask(offset / granularity_ % word_bits, word_bits);
    while (bits == 0) {
        if (++word == words_.size()) return length_;
        bits = ~words_[word];
    }
    const auto bit = static_cast<std::uint64_t>(std::countr_zero(bits));
    return std::min((word * word_bits + bit) * granularity_, length_);
}

void DirtyBitmap::resize(std::uint64_t length) {
    if (length < length_) {
        // The granule that the new end cuts stays as it is.
        const std::uint64_t kept = granules(length, granularity_) * granularity_;
        if (kept < length_) clear(kept, length_ - kept);
    }
    length_ = length;
    words_.resize(granules(granules(length, granularity_), word_bits));
}

}  // namespace blocklayer
