// SPDX-License-Identifier: Apache-2.0
// UTF-8 as the monitor takes it: strict, except that zero may be written as two bytes (and is
// kept so, because text ends at a zero byte elsewhere).
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace blocklayer {

struct CodePoint {
    std::uint32_t value;
    std::size_t bytes;  // how many it took
};

// The first character of `text`, if it is well formed.
std::optional<CodePoint> decode_utf8(std::string_view text);
// Neither a surrogate nor one of the code points that are no characters.
bool is_character(std::uint32_t point);
void append_utf8(std::string& out, std::uint32_t point);

}  // namespace blocklayer
