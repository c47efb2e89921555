// SPDX-License-Identifier: Apache-2.0
// Limits on requests per second and bytes per second, and the leaky buckets that keep them.
//
// What was done lies in a bucket that leaks at the limit's rate; who finds it too full waits until
// it has leaked enough. A bucket holds what leaks in a tenth of a second, or the burst that was
// asked for; bursts longer than a second are themselves held to their rate by a second bucket.
//
// units   one byte or one request is 10^9 parts in a bucket, so that everything is a whole number
// source  docs/throttle.txt of the reference; sizes of the buckets measured on the real program;
//         QAPI ThrottleLimits
#pragma once
#include <array>
#include <cstdint>
#include <string_view>

#include "blocklayer/errors.hpp"
#include "blocklayer/value.hpp"
#include "sim/time.hpp"

namespace blocklayer {

enum class Direction : std::uint8_t { read, write };
constexpr std::size_t direction_count = 2;

struct BucketLimits {
    std::int64_t average = 0;  // per second; 0: unlimited
    std::int64_t burst = 0;    // per second; 0: none
    std::int64_t burst_seconds = 1;
    bool operator==(const BucketLimits&) const = default;
};

struct ThrottleLimits {
    enum Kind : std::uint8_t { bps_total, bps_read, bps_write, iops_total, iops_read, iops_write };
    std::array<BucketLimits, 6> buckets;
    std::int64_t iops_size = 0;  // bytes that count as one request; 0: any number
    bool operator==(const ThrottleLimits&) const = default;

    bool any() const;
    // errors: the reference's words
    Status check() const;
    // Sets the members there are, named as in QAPI: "iops-total-max".
    Status apply(const Value& members);
    Value to_value() const;
};

// One number of the limits, by its name in QAPI.
struct ThrottleMember {
    std::string_view name;
    std::int64_t* (*place)(ThrottleLimits&);
};
const std::array<ThrottleMember, 19>& throttle_members();

class Buckets {
public:
    // Time until a request in this direction may go.
    sim::Duration wait(const ThrottleLimits& limits, Direction direction, sim::Instant now);
    void account(const ThrottleLimits& limits, Direction direction, std::uint64_t bytes);

private:
    struct Level {
        std::int64_t main = 0, burst = 0;  // parts
    };
    void leak(const ThrottleLimits& limits, sim::Instant now);
    std::array<Level, 6> levels_;
    sim::Instant leaked_at_;
};

}  // namespace blocklayer
