// SPDX-License-Identifier: Apache-2.0
// RateLimit: how long to wait so that no more than so many bytes go in a second.
//
// Time is cut into slices. What is asked for is always granted; when a slice's share is used up,
// the answer is how long to wait until what was granted has paid for itself.
//
// units  bytes, bytes per second
#pragma once
#include <algorithm>
#include <cstdint>

#include "sim/time.hpp"

namespace blocklayer {

class RateLimit {
public:
    static constexpr sim::Duration slice = sim::milliseconds(100);

    std::uint64_t speed() const { return speed_; }
    void set_speed(std::uint64_t bytes_per_second) { speed_ = bytes_per_second; }  // 0: no limit

    sim::Duration account(sim::Instant now, std::uint64_t bytes) {
        if (speed_ == 0) return {};
        if (slice_end_ <= now) {
            slice_start_ = now;
            slice_end_ = now + slice;
            granted_ = 0;
        }
        granted_ = granted_ > UINT64_MAX - bytes ? UINT64_MAX : granted_ + bytes;
        const std::uint64_t share =
            std::max<std::uint64_t>(speed_ / (1'000'000'000 / slice.ns), 1);
        if (granted_ < share) return {};
        slice_end_ = slice_start_ + time_for(granted_, share);
        return slice_end_ - now;
    }

private:
    static sim::Duration time_for(std::uint64_t bytes, std::uint64_t share) {
        constexpr std::uint64_t longest = 10'000'000'000;  // slices; a date is left after that
        const std::uint64_t whole = std::min(bytes / share, longest);
        std::uint64_t rest = bytes % share;
        for (; share >> 32 != 0; share >>= 1) rest >>= 1;  // so that the product fits
        const auto part = rest * static_cast<std::uint64_t>(slice.ns) / share;
        return slice * static_cast<std::int64_t>(whole) +
               sim::Duration{static_cast<std::int64_t>(part)};
    }

    std::uint64_t speed_ = 0;
    std::uint64_t granted_ = 0;
    sim::Instant slice_start_{-1}, slice_end_{-1};
};

}  // namespace blocklayer
