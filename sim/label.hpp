// SPDX-License-Identifier: Apache-2.0
// Label: the stable name of a fiber, a wait, a choice or a trace point.
//
// Made from a literal; its hash is computed by the compiler, so digests never depend on addresses
// and naming things costs nothing at run time.
#pragma once
#include <cstdint>
#include <string_view>

namespace sim {

constexpr std::uint64_t hash_text(std::string_view text) {
    std::uint64_t hash = 0xcbf29ce484222325U;  // FNV-1a, 64 bit
    for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
    return hash;
}

class Label {
public:
    constexpr Label() : Label("", 0) {}
    consteval Label(const char* name) : name_(name), hash_(hash_text(name)) {}

    // For names that come from a scenario: kept for the life of the process.
    static Label interned(std::string_view name);

    constexpr const char* name() const { return name_; }
    constexpr std::uint64_t hash() const { return hash_; }
    // By hash: two names in use that share one are out of all likelihood.
    constexpr bool operator==(const Label& other) const { return hash_ == other.hash_; }

private:
    constexpr Label(const char* name, std::uint64_t hash) : name_(name), hash_(hash) {}
    const char* name_;
    std::uint64_t hash_;
};

}  // namespace sim
