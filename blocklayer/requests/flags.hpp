// SPDX-License-Identifier: Apache-2.0
// Request flags: what a request allows or asks for besides its range and data.
#pragma once
#include <cstdint>

namespace blocklayer {

enum class RequestFlag : std::uint16_t {
    none = 0,
    fua = 1 << 0,              // on stable storage before the request completes
    may_unmap = 1 << 1,        // zeroes: the cluster may be given back
    no_fallback = 1 << 2,      // zeroes: fail rather than write a buffer of zeroes
    write_unchanged = 1 << 3,  // reads afterwards return what they did before
    serialising = 1 << 4,      // waits for overlapping requests, and they for it
    no_wait = 1 << 5,          // serialising: fail with busy instead of waiting
    copy_on_read = 1 << 6,     // read: also store what is not allocated in this node
    prefetch = 1 << 7,         // read: no data wanted, only the side effects
    inconsistent_ok = 1 << 8,  // read: contents that belong to no one disk state are fine
    compressed = 1 << 9,       // write: store compressed if the format can
};

class RequestFlags {
public:
    constexpr RequestFlags() = default;
    constexpr RequestFlags(RequestFlag flag) : bits_(static_cast<std::uint16_t>(flag)) {}
    constexpr bool has(RequestFlag flag) const {
        return (bits_ & static_cast<std::uint16_t>(flag)) != 0;
    }
    constexpr RequestFlags operator|(RequestFlags other) const {
        return from_bits(bits_ | other.bits_);
    }
    constexpr RequestFlags operator&(RequestFlags other) const {
        return from_bits(bits_ & other.bits_);
    }
    constexpr RequestFlags without(RequestFlags other) const {
        return from_bits(bits_ & ~other.bits_);
    }
    constexpr bool empty() const { return bits_ == 0; }
    constexpr bool operator==(const RequestFlags&) const = default;
    constexpr unsigned bits() const { return bits_; }

private:
    static constexpr RequestFlags from_bits(unsigned bits) {
        RequestFlags flags;
        flags.bits_ = static_cast<std::uint16_t>(bits);
        return flags;
    }
    std::uint16_t bits_ = 0;
};

constexpr RequestFlags operator|(RequestFlag a, RequestFlag b) {
    return RequestFlags(a) | RequestFlags(b);
}

}  // namespace blocklayer
