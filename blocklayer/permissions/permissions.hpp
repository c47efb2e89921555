// SPDX-License-Identifier: Apache-2.0
// Permissions: what each user of a node needs, and what it lets others do meanwhile.
//
// Set arithmetic only: nothing here suspends, allocates nodes, or knows the graph or a driver.
// invariant  for any two users a, b of one node: a.used is within b.shared
// source     QAPI BlockPermission; meaning of the bits as observed on the real program.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace blocklayer {

enum class Perm : std::uint8_t {  // wire names are these with '-' for '_'
    consistent_read = 1 << 0,     // reads give the complete contents of one disk state
    write = 1 << 1,               // may change what a guest sees
    write_unchanged = 1 << 2,     // may write, if a read afterwards returns what it did before
    resize = 1 << 3,              // may change the length
};

class PermSet {
public:
    constexpr PermSet() = default;
    constexpr PermSet(Perm perm) : bits_(static_cast<std::uint8_t>(perm)) {}
    static constexpr PermSet all() { return from_bits(0xf); }
    static constexpr PermSet from_bits(unsigned bits) {
        PermSet set;
        set.bits_ = static_cast<std::uint8_t>(bits & 0xf);
        return set;
    }

    constexpr bool contains(PermSet other) const { return (other.bits_ & ~bits_) == 0; }
    constexpr bool intersects(PermSet other) const { return (other.bits_ & bits_) != 0; }
    constexpr bool empty() const { return bits_ == 0; }
    constexpr PermSet operator|(PermSet other) const { return from_bits(bits_ | other.bits_); }
    constexpr PermSet operator&(PermSet other) const { return from_bits(bits_ & other.bits_); }
    constexpr PermSet without(PermSet other) const { return from_bits(bits_ & ~other.bits_); }
    constexpr bool operator==(const PermSet&) const = default;
    constexpr unsigned bits() const { return bits_; }

private:
    std::uint8_t bits_ = 0;
};

constexpr PermSet operator|(Perm a, Perm b) { return PermSet(a) | PermSet(b); }

// What one edge into a node carries. All permission state of a graph is in these.
struct Claim {
    PermSet used;
    PermSet shared = PermSet::all();
    bool operator==(const Claim&) const = default;
};

// "consistent read, write": the words of error messages, in the order of the bits.
std::string to_words(PermSet set);
// The QAPI name of one permission: "write-unchanged".
std::string_view wire_name(Perm perm);
// "C W U R" letters for pictures and dumps; "-" for none, "ALL" for all.
std::string to_letters(PermSet set);

}  // namespace blocklayer
