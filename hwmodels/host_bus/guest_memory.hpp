// SPDX-License-Identifier: Apache-2.0
// GuestMemory: the machine's RAM, as devices and guest drivers reach it.
//
// One flat range from address 0; pages nobody touched cost nothing. Rings are read through spans
// that point straight into it, data is described to the block layer as IoVecs without copying.
//
// units      bytes; values in memory are little-endian, as PCI devices see them
// invariant  a span handed out lies inside RAM; an address outside of it gives nullptr, never a
// crash
#pragma once
#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>

#include "sim/check.hpp"

namespace hwmodels {

using GuestAddress = std::uint64_t;

static_assert(std::endian::native == std::endian::little, "guest structures are little-endian");

class GuestMemory {
public:
    explicit GuestMemory(std::uint64_t size);
    GuestMemory(const GuestMemory&) = delete;
    GuestMemory& operator=(const GuestMemory&) = delete;
    ~GuestMemory();

    std::uint64_t size() const { return size_; }

    // The bytes at this address, or nullptr when any of them lies outside RAM.
    std::byte* span(GuestAddress address, std::uint64_t length) const {
        if (address > size_ || length > size_ - address) return nullptr;
        touched_from_ = std::min(touched_from_, address);
        touched_to_ = std::max(touched_to_, address + length);
        return bytes_ + address;
    }

    // All contents, to be put back into this same memory.
    struct Saved {
        GuestAddress from = 0;
        std::vector<std::byte> bytes;  // the rest is zero
    };
    Saved save() const;
    void restore(const Saved& saved);

    template <class T>
    bool read(GuestAddress address, T& value) const {
        static_assert(std::is_trivially_copyable_v<T>);
        const std::byte* from = span(address, sizeof(T));
        if (from == nullptr) return false;
        std::memcpy(&value, from, sizeof(T));
        return true;
    }
    template <class T>
    bool write(GuestAddress address, const T& value) const {
        static_assert(std::is_trivially_copyable_v<T>);
        std::byte* to = span(address, sizeof(T));
        if (to == nullptr) return false;
        std::memcpy(to, &value, sizeof(T));
        return true;
    }

private:
    std::byte* bytes_;
    std::uint64_t size_;
    // What was handed out so far: all else is still zero.
    mutable GuestAddress touched_from_ = UINT64_MAX, touched_to_ = 0;
};

// Loads and stores of one field of a structure in guest memory.
template <class T>
T load(const std::byte* from) {
    T value;
    std::memcpy(&value, from, sizeof(T));
    return value;
}
template <class T>
void store(std::byte* to, T value) {
    std::memcpy(to, &value, sizeof(T));
}

}  // namespace hwmodels
