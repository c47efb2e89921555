// SPDX-License-Identifier: Apache-2.0
// ContentOracle: what a read of a disk may return, given what was written to it.
//
// A read returns, sector by sector, the last acknowledged write or one that was under way during
// the read. Of overlapping writes any may have come last; a failed write may have happened or not.
// After a power cut, what a flush did not cover may be any version since. Each version is kept as a
// hash, so the oracle costs a few bytes a sector that is in use.
//
// units      bytes; offsets and lengths are multiples of a sector
// invariant  a sector's versions include every content a read that is under way may return
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "sim/few.hpp"
#include "sim/place.hpp"

namespace hwmodels::guest {

class ContentOracle {
public:
    static constexpr std::uint64_t sector_bytes = 512;
    // Counts beginnings and ends of requests: an order, not a time.
    using Moment = std::uint64_t;

    // What was there before is not known and is learned from the first read.
    explicit ContentOracle(std::string name)
        : name_(std::move(name)), place_(sim::Place::named("contents of a disk", name_)) {}
    sim::Place place() const { return place_; }

    Moment begin_write(std::uint64_t offset, std::span<const std::byte> data);
    Moment begin_zeroes(std::uint64_t offset, std::uint64_t length);
    // The change that began then has ended. Failed: it happened, or not, or in part; so does a
    // discard that succeeds, which is a zeroing the disk may leave undone.
    void end_change(Moment begun, std::uint64_t offset, std::uint64_t length, bool succeeded);

    Moment begin_read();
    // Text of the first sector that reads as nothing allowed; nothing when all is right.
    std::optional<std::string> end_read(Moment begun, std::uint64_t offset,
                                        std::span<const std::byte> data);
    void abandon_read(Moment begun) { forget_read(begun); }

    Moment begin_flush() const { return now_; }
    void end_flush(Moment begun) {
        if (begun >= power_lost_) flushed_ = std::max(flushed_, begun);
    }
    // The change that began then was acknowledged and is on the medium, as if flushed.
    void settled(Moment begun, std::uint64_t offset, std::uint64_t length);
    // Whether a request ever touched this range, or one near it.
    bool in_use(std::uint64_t offset, std::uint64_t length) const;
    // Everything that no flush covered may be there or not; requests under way have ended.
    void power_lost();

private:
    static constexpr Moment never = UINT64_MAX;
    static constexpr std::size_t versions_max = 16, sectors_per_page = 16;
    struct Version {
        std::uint64_t hash = 0;
        Moment begun = 0, ended = 0;
        Moment dead = never;  // when a later write was acknowledged
        bool known = true;    // false: whatever was there before the first request
    };
    struct Sector {
        // Oldest first. Seldom more than two: what is there, and what is being written.
        sim::Few<Version, 2> versions;
        bool forgot = false;  // versions that a power cut could bring back were dropped
    };
    using Page = std::array<Sector, sectors_per_page>;

    Sector& sector(std::uint64_t number);
    void add(std::uint64_t number, std::uint64_t hash, Moment begun, Moment ended);
    void clean(Sector& sector) const;
    bool explains(Sector& sector, std::uint64_t hash, Moment begun);
    void forget_read(Moment begun);

    std::string name_;
    sim::Place place_;
    std::vector<std::unique_ptr<Page>> pages_;
    std::vector<Moment> reads_;  // under way, oldest first
    Moment now_ = 1;
    Moment flushed_ = 0;
    Moment power_lost_ = 0;  // requests begun before have ended then: what the guest hears is late
};

}  // namespace hwmodels::guest
