// SPDX-License-Identifier: Apache-2.0
// Which of several unexpected members is the one complained about.
//
// The reference keeps the members it has not visited yet in a hash table and names the first one
// it meets there, so the answer depends on the names' hashes and on how large the table has grown.
#pragma once
#include <optional>
#include <span>
#include <string_view>

namespace blocklayer {

// `names` in the order in which they arrived; `known` are taken out again. None left: nothing.
std::optional<std::string_view> first_left_over(std::span<const std::string_view> names,
                                                std::span<const std::string_view> known);

}  // namespace blocklayer
