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
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <type_traits>

#include "sim/check.hpp"

namespace hwmodels {

using GuestAddress = std::uint64_t;

static_assert(std::endian::native == std::endian::little, "guest structures are little-endian");

class GuestMemory {
public:
    explicit GuestMemory(std::uint64_t size)
        : bytes_(static_cast<std::byte*>(std::calloc(size, 1))), size_(size) {
        EXPECTS(bytes_ != nullptr);
    }

    std::uint64_t size() const { return size_; }

    // The bytes at this address, or nullptr when any of them lies outside RAM.
    std::byte* span(GuestAddress address, std::uint64_t length) const {
        if (address > size_ || length > size_ - address) return nullptr;
        return bytes_.get() + address;
    }

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
    struct Free {
        void operator()(std::byte* bytes) const { std::free(bytes); }
    };
    std::unique_ptr<std::byte, Free> bytes_;
    std::uint64_t size_;
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
