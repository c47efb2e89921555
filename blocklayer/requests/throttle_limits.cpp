// SPDX-License-Identifier: Apache-2.0
#include "blocklayer/requests/throttle_limits.hpp"

#include <algorithm>

namespace blocklayer {
namespace {

__extension__ using Wide = __int128;  // products of rates and times

constexpr std::int64_t value_max = 1'000'000'000'000'000;
constexpr std::int64_t parts = 1'000'000'000;
constexpr Wide level_max = INT64_MAX;  // of a bucket: what does not fit is as good as forever

template <ThrottleLimits::Kind kind, std::int64_t BucketLimits::*member>
std::int64_t* place(ThrottleLimits& limits) {
    return &(limits.buckets[kind].*member);
}

// The buckets a direction fills: of all requests and of its own.
std::array<std::size_t, 4> buckets_of(Direction direction) {
    const std::size_t own = direction == Direction::read ? 1 : 2;
    return {ThrottleLimits::bps_total, ThrottleLimits::bps_total + own, ThrottleLimits::iops_total,
            ThrottleLimits::iops_total + own};
}

std::int64_t saturated(Wide level) {
    return static_cast<std::int64_t>(std::clamp<Wide>(level, 0, level_max));
}

// Time in which `extra` parts leak at that rate, rounded up.
std::int64_t leak_time_ns(Wide extra, std::int64_t rate) {
    return extra <= 0 ? 0 : saturated((extra + rate - 1) / rate);
}

std::int64_t wait_ns(const BucketLimits& limits, std::int64_t main, std::int64_t burst) {
    if (limits.average == 0) return 0;
    const Wide capacity = limits.burst == 0 ? Wide{limits.average} * parts / 10
                                            : Wide{limits.burst} * limits.burst_seconds * parts;
    const std::int64_t wait = leak_time_ns(main - capacity, limits.average);
    if (wait > 0 || limits.burst_seconds <= 1) return wait;
    return leak_time_ns(burst - Wide{limits.burst} * parts / 10, limits.burst);
}

}  // namespace

const std::array<ThrottleMember, 19>& throttle_members() {
    using L = ThrottleLimits;
    using B = BucketLimits;
    static constexpr std::array<ThrottleMember, 19> members = {{
        {"iops-total", place<L::iops_total, &B::average>},
        {"iops-total-max", place<L::iops_total, &B::burst>},
        {"iops-total-max-length", place<L::iops_total, &B::burst_seconds>},
        {"iops-read", place<L::iops_read, &B::average>},
        {"iops-read-max", place<L::iops_read, &B::burst>},
        {"iops-read-max-length", place<L::iops_read, &B::burst_seconds>},
        {"iops-write", place<L::iops_write, &B::average>},
        {"iops-write-max", place<L::iops_write, &B::burst>},
        {"iops-write-max-length", place<L::iops_write, &B::burst_seconds>},
        {"bps-total", place<L::bps_total, &B::average>},
        {"bps-total-max", place<L::bps_total, &B::burst>},
        {"bps-total-max-length", place<L::bps_total, &B::burst_seconds>},
        {"bps-read", place<L::bps_read, &B::average>},
        {"bps-read-max", place<L::bps_read, &B::burst>},
        {"bps-read-max-length", place<L::bps_read, &B::burst_seconds>},
        {"bps-write", place<L::bps_write, &B::average>},
        {"bps-write-max", place<L::bps_write, &B::burst>},
        {"bps-write-max-length", place<L::bps_write, &B::burst_seconds>},
        {"iops-size", [](ThrottleLimits& limits) { return &limits.iops_size; }},
    }};
    return members;
}

bool ThrottleLimits::any() const {
    return std::any_of(buckets.begin(), buckets.end(),
                       [](const BucketLimits& bucket) { return bucket.average > 0; });
}

Status ThrottleLimits::check() const {
    const auto both = [&](Kind total, std::int64_t BucketLimits::*member) {
        return buckets[total].*member != 0 && (buckets[total + 1].*member != 0 ||
                                               buckets[total + 2].*member != 0);
    };
    for (const Kind total : {bps_total, iops_total})
        if (both(total, &BucketLimits::average) || both(total, &BucketLimits::burst))
            return failure(
                "bps/iops/max total values and read/write values cannot be used at the same time");
    if (iops_size != 0 && buckets[iops_total].average == 0 && buckets[iops_read].average == 0 &&
        buckets[iops_write].average == 0)
        return failure("iops size requires an iops value to be set");
    const auto in_range = [](std::int64_t value) { return value >= 0 && value <= value_max; };
    for (const BucketLimits& bucket : buckets) {
        if (!in_range(bucket.average) || !in_range(bucket.burst))
            return failure("bps/iops/max values must be within [0, 1000000000000000]");
        if (bucket.burst_seconds <= 0) return failure("the burst length cannot be 0");
        if (bucket.burst_seconds > 1 && bucket.burst == 0)
            return failure("burst length set without burst rate");
        if (bucket.burst > 0 && bucket.burst_seconds > value_max / bucket.burst)
            return failure("burst length too high for this burst rate");
        if (bucket.burst > 0 && bucket.average == 0)
            return failure("bps_max/iops_max require corresponding bps/iops values");
        if (bucket.burst > 0 && bucket.burst < bucket.average)
            return failure("bps_max/iops_max cannot be lower than bps/iops");
    }
    return {};
}

Status ThrottleLimits::apply(const Value& members) {
    ThrottleLimits after = *this;
    for (const ThrottleMember& member : throttle_members())
        if (const Value* value = members.find(member.name)) *member.place(after) = value->as_int();
    TRY(after.check());
    *this = after;
    return {};
}

Value ThrottleLimits::to_value() const {
    Value value = Value::dict();
    ThrottleLimits copy = *this;
    for (const ThrottleMember& member : throttle_members())
        value.set(std::string(member.name), *member.place(copy));
    return value;
}

void Buckets::leak(const ThrottleLimits& limits, sim::Instant now) {
    const std::int64_t passed_ns = (now - leaked_at_).ns;
    leaked_at_ = now;
    for (std::size_t i = 0; i < levels_.size(); ++i) {
        const BucketLimits& bucket = limits.buckets[i];
        Level& level = levels_[i];
        level.main = saturated(level.main - Wide{bucket.average} * passed_ns);
        level.burst = saturated(level.burst - Wide{bucket.burst} * passed_ns);
    }
}

sim::Duration Buckets::wait(const ThrottleLimits& limits, Direction direction, sim::Instant now) {
    leak(limits, now);
    std::int64_t longest_ns = 0;
    for (const std::size_t i : buckets_of(direction))
        longest_ns =
            std::max(longest_ns, wait_ns(limits.buckets[i], levels_[i].main, levels_[i].burst));
    // Beyond this no clock of ours reaches.
    constexpr std::int64_t ever_ns = INT64_MAX / 4;
    return sim::nanoseconds(std::min(longest_ns, ever_ns));
}

void Buckets::account(const ThrottleLimits& limits, Direction direction, std::uint64_t bytes) {
    const auto size = static_cast<std::uint64_t>(limits.iops_size);
    const Wide requests = size == 0 || bytes <= size ? Wide{parts} : Wide{bytes} * parts / size;
    const auto buckets = buckets_of(direction);
    for (std::size_t i = 0; i < buckets.size(); ++i) {
        if (limits.buckets[buckets[i]].average == 0) continue;
        const Wide amount = i < 2 ? Wide{bytes} * parts : requests;
        Level& level = levels_[buckets[i]];
        level.main = saturated(level.main + amount);
        level.burst = saturated(level.burst + amount);
    }
}

}  // namespace blocklayer
