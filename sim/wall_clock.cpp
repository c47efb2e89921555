// SPDX-License-Identifier: Apache-2.0
#include "sim/wall_clock.hpp"

#include <algorithm>
#include <cmath>
#include <ctime>

namespace sim {
namespace {

class HostClock final : public WallClock {
public:
    std::int64_t now_ns() const override {
        timespec now{};
        clock_gettime(CLOCK_MONOTONIC, &now);
        return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
    }
    void sleep(Duration duration) override {
        const timespec wait{duration.ns / 1'000'000'000, duration.ns % 1'000'000'000};
        nanosleep(&wait, nullptr);
    }
};

}  // namespace

WallClock& WallClock::host() {
    static HostClock clock;
    return clock;
}

std::int64_t wall_clock_date_ns() {
    timespec now{};
    clock_gettime(CLOCK_REALTIME, &now);
    return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

Instant Pace::date() const {
    return {static_cast<std::int64_t>(static_cast<double>(clock_.now_ns() - origin_ns_) * factor_)};
}

Duration Pace::until(Instant date) const {
    const double wall = std::ceil(static_cast<double>(date.ns) / factor_);
    if (date == Instant::never() || wall >= static_cast<double>(INT64_MAX)) return {INT64_MAX};
    return {std::max<std::int64_t>(
        static_cast<std::int64_t>(wall) - (clock_.now_ns() - origin_ns_), 0)};
}

}  // namespace sim
