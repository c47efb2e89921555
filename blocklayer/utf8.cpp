// SPDX-License-Identifier: Apache-2.0
#include "blocklayer/utf8.hpp"

#include <algorithm>

namespace blocklayer {

bool is_character(std::uint32_t point) {
    return point <= 0x10ffff && (point < 0xd800 || point > 0xdfff) &&
           (point < 0xfdd0 || point > 0xfdef) && (point & 0xfffe) != 0xfffe;
}

std::optional<CodePoint> decode_utf8(std::string_view text) {
    if (text.empty()) return std::nullopt;
    const auto first = static_cast<unsigned char>(text[0]);
    if (first < 0x80) return CodePoint{first, 1};

    // By the number of leading one bits: length, payload of the first byte, least code point.
    struct Shape {
        unsigned mask, lead;
        std::size_t bytes;
        std::uint32_t least;
    };
    constexpr Shape shapes[] = {
        {0xe0, 0xc0, 2, 0x80}, {0xf0, 0xe0, 3, 0x800}, {0xf8, 0xf0, 4, 0x10000}};
    for (const Shape& shape : shapes) {
        if ((first & shape.mask) != shape.lead) continue;
        if (text.size() < shape.bytes) return std::nullopt;
        std::uint32_t point = first & ~shape.mask & 0xff;
        for (std::size_t i = 1; i < shape.bytes; ++i) {
            const auto next = static_cast<unsigned char>(text[i]);
            if ((next & 0xc0) != 0x80) return std::nullopt;
            point = point << 6 | (next & 0x3f);
        }
        const bool long_zero = point == 0 && shape.bytes == 2;
        if ((point < shape.least && !long_zero) || !is_character(point)) return std::nullopt;
        return CodePoint{point, shape.bytes};
    }
    return std::nullopt;
}

void append_utf8(std::string& out, std::uint32_t point) {
    const auto byte = [&](std::uint32_t bits) { out += static_cast<char>(bits); };
    if (point >= 0x10000) {
        byte(0xf0 | point >> 18);
        byte(0x80 | (point >> 12 & 0x3f));
        byte(0x80 | (point >> 6 & 0x3f));
        byte(0x80 | (point & 0x3f));
    } else if (point >= 0x800) {
        byte(0xe0 | point >> 12);
        byte(0x80 | (point >> 6 & 0x3f));
        byte(0x80 | (point & 0x3f));
    } else if (point >= 0x80 || point == 0) {
        byte(0xc0 | point >> 6);
        byte(0x80 | (point & 0x3f));
    } else {
        byte(point);
    }
}

}  // namespace blocklayer
