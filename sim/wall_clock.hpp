// SPDX-License-Identifier: Apache-2.0
// The one door to the host's clock: the paced clock mode and nothing else uses it.
#pragma once
#include "sim/time.hpp"

namespace sim {

std::int64_t wall_clock_ns();
void wall_clock_sleep(Duration duration);

}  // namespace sim
