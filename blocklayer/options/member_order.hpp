// SPDX-License-Identifier: Apache-2.0
// The orders in which the reference walks names that it keeps in hash tables.
//
// GLib's tables show in two places: which of several unexpected members is the one complained
// about, and how the children of an object are listed. Its own table, of 512 buckets, newest first
// within a bucket, shows wherever a dictionary's members come one after the other: in what it
// writes, and in which of several options is the one refused.
#pragma once
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "blocklayer/value.hpp"

namespace blocklayer {

// `names` in the order in which they were put in, no two alike.
std::vector<std::string_view> hash_order(std::span<const std::string_view> names);

// The first of `names` that is not among `known`, in that order; None left: nothing.
std::optional<std::string_view> first_left_over(std::span<const std::string_view> names,
                                                std::span<const std::string_view> known);

// A dictionary's members as the wire has them.
std::vector<const Value::Member*> wire_order(const Value& dict);

}  // namespace blocklayer
