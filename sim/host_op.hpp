// SPDX-License-Identifier: Apache-2.0
// HostOp: what can be asked of a host file that takes time.
#pragma once
#include <cstdint>

namespace sim {

enum class HostOp : std::uint8_t { read, write, write_zeroes, discard, flush, truncate };

}  // namespace sim
