// SPDX-License-Identifier: Apache-2.0
#include "blocklayer/permissions/permissions.hpp"

namespace blocklayer {
namespace {

constexpr Perm in_order[] = {Perm::consistent_read, Perm::write, Perm::write_unchanged,
                             Perm::resize};
constexpr std::string_view words[] = {"consistent read", "write", "write unchanged", "resize"};
constexpr std::string_view wire[] = {"consistent-read", "write", "write-unchanged", "resize"};
constexpr char letters[] = {'C', 'W', 'U', 'R'};

}  // namespace

std::string to_words(PermSet set) {
    std::string text;
    for (std::size_t i = 0; i < std::size(in_order); ++i) {
        if (!set.contains(in_order[i])) continue;
        if (!text.empty()) text += ", ";
        text += words[i];
    }
    return text;
}

std::string_view wire_name(Perm perm) {
    for (std::size_t i = 0; i < std::size(in_order); ++i)
        if (in_order[i] == perm) return wire[i];
    return "";
}

std::string to_letters(PermSet set) {
    if (set.empty()) return "-";
    if (set == PermSet::all()) return "ALL";
    std::string text;
    for (std::size_t i = 0; i < std::size(in_order); ++i)
        if (set.contains(in_order[i])) text += letters[i];
    return text;
}

}  // namespace blocklayer
