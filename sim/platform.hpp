// SPDX-License-Identifier: Apache-2.0
// Platform: how long host resources take. A world without one is on the `instant` platform.
//
// The clock of the platform is moved only while one of its resources is in use.
#pragma once
#include <cstdint>

#include "sim/time.hpp"

namespace sim {

class Co;

// How long one disk takes. Each call suspends until the disk has moved that many bytes.
class DiskTime {
public:
    virtual ~DiskTime() = default;
    virtual void read(Co& co, std::uint64_t bytes) = 0;
    virtual void write(Co& co, std::uint64_t bytes) = 0;
};

class Platform {
public:
    virtual ~Platform() = default;
    // True while an operation is under way.
    virtual bool busy() const = 0;
    // Goes on to `limit` or to the first completion, whichever is earlier; wakes who waited for
    // it and returns the date reached.
    virtual Instant advance(Instant now, Instant limit) = 0;
};

}  // namespace sim
