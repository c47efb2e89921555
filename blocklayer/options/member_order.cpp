// SPDX-License-Identifier: Apache-2.0
// Of GLib: an open-addressed table as it documents and shows it: sizes are powers of two with a
// prime below each for the first probe, probing steps grow by one, the table is enlarged before it
// fills.
#include "blocklayer/options/member_order.hpp"

#include <algorithm>
#include <cstdint>
#include <unordered_set>
#include <vector>

namespace blocklayer {
namespace {

constexpr std::uint32_t buckets = 512;

// source  the wire: members of replies come in rising order of this, in every reply ever seen.
std::uint32_t bucket_of(std::string_view name) {
    std::uint32_t value = 0x238f13af * static_cast<std::uint32_t>(name.size());
    for (std::uint32_t i = 0; i < name.size(); ++i)
        value += static_cast<std::uint32_t>(static_cast<unsigned char>(name[i])) << (i * 5 % 24);
    return (1103515243u * value + 12345u) % buckets;
}

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
    const std::vector<std::optional<std::string_view>>& slots() const { return slots_; }

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

std::vector<std::string_view> hash_order(std::span<const std::string_view> names) {
    // Nothing holds so many; past the table's largest size the order given will do.
    if (names.size() > 50'000) return {names.begin(), names.end()};
    Table table;
    for (const std::string_view name : names) table.insert(name);
    std::vector<std::string_view> order;
    for (const auto& slot : table.slots())
        if (slot) order.push_back(*slot);
    return order;
}

std::optional<std::string_view> first_left_over(std::span<const std::string_view> names,
                                                std::span<const std::string_view> known) {
    const std::unordered_set<std::string_view> visited(known.begin(), known.end());
    const auto is_left = [&](std::string_view name) { return !visited.contains(name); };
    if (std::none_of(names.begin(), names.end(), is_left)) return std::nullopt;
    const std::vector<std::string_view> order = hash_order(names);
    return *std::find_if(order.begin(), order.end(), is_left);
}

std::vector<const Value::Member*> wire_order(const Value& dict) {
    std::vector<std::pair<std::uint32_t, const Value::Member*>> sorted;
    for (const Value::Member& member : dict.members())
        sorted.emplace_back(bucket_of(member.first), &member);
    std::reverse(sorted.begin(), sorted.end());
    std::stable_sort(sorted.begin(), sorted.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
    std::vector<const Value::Member*> members;
    for (const auto& [bucket, member] : sorted) members.push_back(member);
    return members;
}

}  // namespace blocklayer
