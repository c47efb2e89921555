// SPDX-License-Identifier: Apache-2.0
// The order in which the reference walks names that it keeps in one of GLib's hash tables.
//
// It shows in two places: which of several unexpected members is the one complained about, and how
// the children of an object are listed.
#pragma once
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace blocklayer {

// `names` in the order in which they were put in, no two alike.
std::vector<std::string_view> hash_order(std::span<const std::string_view> names);

// The first of `names` that is not among `known`, in that order; None left: nothing.
std::optional<std::string_view> first_left_over(std::span<const std::string_view> names,
                                                std::span<const std::string_view> known);

}  // namespace blocklayer
