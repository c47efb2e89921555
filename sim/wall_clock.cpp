// SPDX-License-Identifier: Apache-2.0
#include "sim/wall_clock.hpp"

#include <ctime>

namespace sim {

std::int64_t wall_clock_ns() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

void wall_clock_sleep(Duration duration) {
    const timespec wait{duration.ns / 1'000'000'000, duration.ns % 1'000'000'000};
    nanosleep(&wait, nullptr);
}

}  // namespace sim
