// SPDX-License-Identifier: Apache-2.0
// The one door to the host's clock, and Pace, which ties a world to it.
//
// The paced clock mode and nothing else uses them.
#pragma once
#include "sim/time.hpp"

namespace sim {

class WallClock {
public:
    virtual ~WallClock() = default;
    virtual std::int64_t now_ns() const = 0;
    virtual void sleep(Duration duration) = 0;  // may end early

    static WallClock& host();
};

// What clients of a program are told the time is. units: ns since 1970
std::int64_t wall_clock_date_ns();

// The simulated date that the wall clock has reached: `factor` simulated seconds a second, counted
// from when this was made.
class Pace {
public:
    Pace(WallClock& clock, double factor)
        : clock_(clock), factor_(factor), origin_ns_(clock.now_ns()) {}

    Instant date() const;
    // Wall time from now until the date is reached; INT64_MAX ns when that is never.
    Duration until(Instant date) const;
    void sleep(Duration wall) { clock_.sleep(wall); }

private:
    WallClock& clock_;
    double factor_;
    std::int64_t origin_ns_;
};

}  // namespace sim
