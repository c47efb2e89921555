// SPDX-License-Identifier: Apache-2.0
// An open-addressed table as GLib documents and shows it: sizes are powers of two with a prime
// below each for the first probe, probing steps grow by one, the table is enlarged before it fills.
#include "blocklayer/options/member_order.hpp"

#include <algorithm>
#include <cstdint>
#include <vector>

namespace blocklayer {
namespace {

constexpr std::uint32_t primes[] = {1,   2,    3,    7,    13,   31,    61,    127,   251,
                                    509, 1021, 2039, 4093, 8191, 16381, 32749, 65521, 131071};

std::uint32_t string_hash(std::string_view text) {
    std::uint32_t hash = 5381;
    for (const char c : text)
        hash = hash * 33 + static_cast<std::uint32_t>(static_cast<signed char>(c));
    return hash;
}

class Table {
public:
    void insert(std::string_view name) {
        place(name);
        const std::size_t used = names_.size();
        if (slots_.size() <= used + used / 16) grow();
    }
    std::span<const std::optional<std::string_view>> slots() const { return slots_; }

private:
    void put(std::string_view name) {
        std::size_t at = string_hash(name) * 11 % primes[shift_];
        for (std::size_t step = 1; slots_[at]; ++step) at = (at + step) & (slots_.size() - 1);
        slots_[at] = name;
    }
    void place(std::string_view name) {
        names_.push_back(name);
        put(name);
    }
    void grow() {
        const auto wanted = static_cast<std::size_t>(static_cast<double>(names_.size()) * 1.333);
        while ((std::size_t{1} << shift_) <= wanted && shift_ + 1 < std::size(primes)) ++shift_;
        const std::vector<std::optional<std::string_view>> old = std::move(slots_);
        slots_.assign(std::size_t{1} << shift_, std::nullopt);
        for (const auto& slot : old)
            if (slot) put(*slot);
    }

    std::uint32_t shift_ = 3;
    std::vector<std::optional<std::string_view>> slots_{8};
    std::vector<std::string_view> names_;
};

}  // namespace

std::optional<std::string_view> first_left_over(std::span<const std::string_view> names,
                                                std::span<const std::string_view> known) {
    const auto is_known = [&](std::string_view name) {
        return std::find(known.begin(), known.end(), name) != known.end();
    };
    // No monitor accepts so many members; past the table's limit the first in line will do.
    if (names.size() > 50'000) {
        const auto left = std::find_if_not(names.begin(), names.end(), is_known);
        if (left == names.end()) return std::nullopt;
        return *left;
    }
    Table table;
    for (const std::string_view name : names) table.insert(name);
    for (const auto& slot : table.slots())
        if (slot && !is_known(*slot)) return slot;
    return std::nullopt;
}

}  // namespace blocklayer
