// SPDX-License-Identifier: Apache-2.0
// A value as JSON text, in the reference's words: the wire's, and that of "json:" filenames.
// Dictionaries are written in the reference's order (options/member_order.hpp).
#pragma once
#include <string>

#include "blocklayer/value.hpp"

namespace blocklayer {

std::string to_json(const Value& value);
std::string to_json_pretty(const Value& value);

}  // namespace blocklayer
