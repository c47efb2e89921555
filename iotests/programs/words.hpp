// SPDX-License-Identifier: Apache-2.0
// Words of a program's command line.
#pragma once
#include <charconv>
#include <cstdint>
#include <string_view>

// False: the word is not a decimal number, or is too large.
inline bool parse(std::string_view word, std::uint64_t& number) {
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), number);
    return error == std::errc() && end == word.data() + word.size();
}
