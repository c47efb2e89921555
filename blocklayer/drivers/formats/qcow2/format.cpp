// SPDX-License-Identifier: Apache-2.0
#include "blocklayer/drivers/formats/qcow2/format.hpp"

namespace blocklayer::qcow2 {

std::uint64_t get_refcount(const std::byte* block, std::uint64_t index, std::uint32_t order) {
    switch (order) {
    case 4: return read_be<std::uint16_t>(block + index * 2);
    case 5: return read_be<std::uint32_t>(block + index * 4);
    case 6: return read_be<std::uint64_t>(block + index * 8);
    case 3: return static_cast<std::uint64_t>(block[index]);
    default: {  // several in a byte, the first one in the lowest bits
        const unsigned bits = 1u << order;
        const std::uint64_t per_byte = 8 / bits;
        const auto byte = static_cast<unsigned>(block[index / per_byte]);
        return (byte >> (index % per_byte * bits)) & ((1u << bits) - 1);
    }
    }
}

void set_refcount(std::byte* block, std::uint64_t index, std::uint32_t order,
                  std::uint64_t value) {
    switch (order) {
    case 4: write_be(block + index * 2, static_cast<std::uint16_t>(value)); return;
    case 5: write_be(block + index * 4, static_cast<std::uint32_t>(value)); return;
    case 6: write_be(block + index * 8, value); return;
    case 3: block[index] = static_cast<std::byte>(value); return;
    default: {
        const unsigned bits = 1u << order;
        const std::uint64_t per_byte = 8 / bits;
        const unsigned shift = static_cast<unsigned>(index % per_byte) * bits;
        const unsigned mask = ((1u << bits) - 1) << shift;
        std::byte& byte = block[index / per_byte];
        byte = static_cast<std::byte>((static_cast<unsigned>(byte) & ~mask) |
                                      (static_cast<unsigned>(value) << shift & mask));
    }
    }
}

}  // namespace blocklayer::qcow2
