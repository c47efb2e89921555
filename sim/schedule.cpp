// SPDX-License-Identifier: Apache-2.0
#include "sim/schedule.hpp"

namespace sim {

std::uint32_t Schedule::pick(std::span<const Candidate> ready) {
    return choose(static_cast<std::uint32_t>(ready.size()), "ready");
}

}  // namespace sim
