// SPDX-License-Identifier: Apache-2.0
#include "hwmodels/guest/content_oracle.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "sim/check.hpp"

namespace hwmodels::guest {
namespace {

// Of one sector. Eight lanes, so that the processor can work on them side by side.
std::uint64_t hash_of(const std::byte* data) {
    constexpr std::size_t lane_count = 8, word_bytes = sizeof(std::uint64_t);
    constexpr std::uint64_t factor = 0x9fb21c651e98df25U;
    const auto mix = [](std::uint64_t lane, std::uint64_t word) {
        return std::rotl(lane ^ word, 29) * factor;
    };
    std::uint64_t lanes[lane_count];
    for (std::size_t lane = 0; lane < lane_count; ++lane) lanes[lane] = lane * factor;
    for (std::size_t at = 0; at < ContentOracle::sector_bytes; at += lane_count * word_bytes) {
#pragma GCC unroll 8
        for (std::size_t lane = 0; lane < lane_count; ++lane) {
            std::uint64_t word = 0;
            std::memcpy(&word, data + at + lane * word_bytes, word_bytes);
            lanes[lane] = mix(lanes[lane], word);
        }
    }
    std::uint64_t hash = 0;
    for (const std::uint64_t lane : lanes) hash = mix(hash, lane);
    return hash ^ hash >> 32;
}

std::uint64_t hash_of_zeroes() {
    static constexpr std::byte zeroes[ContentOracle::sector_bytes]{};
    static const std::uint64_t hash = hash_of(zeroes);
    return hash;
}

// Were there any?
template <class Versions, class Gone>
bool erase_if(Versions& versions, const Gone& gone) {
    const auto first = std::remove_if(versions.begin(), versions.end(), gone);
    const bool found = first != versions.end();
    versions.erase(first, versions.end());
    return found;
}

}  // namespace

ContentOracle::Sector& ContentOracle::sector(std::uint64_t number) {
    const std::uint64_t page = number / sectors_per_page;
    if (page >= pages_.size()) pages_.resize(page + 1);
    if (!pages_[page]) pages_[page] = std::make_unique<Page>();
    Sector& found = (*pages_[page])[number % sectors_per_page];
    if (found.versions.empty()) found.versions.push_back({.known = false});
    return found;
}

// Drops what neither a read under way nor a power cut can bring back.
void ContentOracle::clean(Sector& sector) const {
    const Moment oldest_read = reads_.empty() ? never : reads_.front();
    auto& versions = sector.versions;
    const auto gone = [&](const Version& version) {
        return version.dead <= flushed_ && version.dead <= oldest_read;
    };
    erase_if(versions, gone);
    if (versions.size() < versions_max) return;
    const auto superseded = [&](const Version& version) {
        return version.dead != never && version.dead <= oldest_read;
    };
    if (erase_if(versions, superseded)) sector.forgot = true;
}

void ContentOracle::add(std::uint64_t number, std::uint64_t hash, Moment begun, Moment ended) {
    Sector& changed = sector(number);
    clean(changed);
    changed.versions.push_back({.hash = hash, .begun = begun, .ended = ended});
}

ContentOracle::Moment ContentOracle::begin_write(std::uint64_t offset,
                                                 std::span<const std::byte> data) {
    EXPECTS(offset % sector_bytes == 0 && data.size() % sector_bytes == 0);
    const Moment begun = ++now_;
    for (std::size_t at = 0; at < data.size(); at += sector_bytes)
        add((offset + at) / sector_bytes, hash_of(data.data() + at), begun, never);
    return begun;
}

ContentOracle::Moment ContentOracle::begin_zeroes(std::uint64_t offset, std::uint64_t length) {
    EXPECTS(offset % sector_bytes == 0 && length % sector_bytes == 0);
    const Moment begun = ++now_;
    for (std::uint64_t at = 0; at < length; at += sector_bytes)
        add((offset + at) / sector_bytes, hash_of_zeroes(), begun, never);
    return begun;
}

void ContentOracle::end_change(Moment begun, std::uint64_t offset, std::uint64_t length,
                               bool succeeded) {
    if (begun < power_lost_) return;
    const Moment ended = ++now_;
    for (std::uint64_t at = 0; at < length; at += sector_bytes) {
        for (Version& version : sector((offset + at) / sector_bytes).versions) {
            if (version.begun == begun) version.ended = std::min(version.ended, ended);
            // What had ended before this one began lies below it.
            if (succeeded && version.ended < begun) version.dead = std::min(version.dead, ended);
        }
    }
}

bool ContentOracle::in_use(std::uint64_t offset, std::uint64_t length) const {
    constexpr std::uint64_t page_bytes = sectors_per_page * sector_bytes;
    for (std::uint64_t page = offset / page_bytes; page * page_bytes < offset + length; ++page)
        if (page < pages_.size() && pages_[page] != nullptr) return true;
    return false;
}

ContentOracle::Moment ContentOracle::begin_read() {
    reads_.push_back(++now_);
    return now_;
}

void ContentOracle::forget_read(Moment begun) {
    const auto found = std::find(reads_.begin(), reads_.end(), begun);
    EXPECTS(found != reads_.end());
    reads_.erase(found);
}

bool ContentOracle::explains(Sector& sector, std::uint64_t hash, Moment begun) {
    Version* unknown = nullptr;
    for (Version& version : sector.versions) {
        if (version.dead <= begun) continue;
        if (!version.known)
            unknown = &version;
        else if (version.hash == hash)
            return true;
    }
    if (unknown == nullptr) return false;
    // Now it is known what was there at first.
    unknown->hash = hash;
    unknown->known = true;
    return true;
}

std::optional<std::string> ContentOracle::end_read(Moment begun, std::uint64_t offset,
                                                   std::span<const std::byte> data) {
    EXPECTS(offset % sector_bytes == 0 && data.size() % sector_bytes == 0);
    forget_read(begun);
    for (std::size_t at = 0; at < data.size(); at += sector_bytes) {
        const std::uint64_t number = (offset + at) / sector_bytes;
        Sector& read = sector(number);
        const std::uint64_t hash = hash_of(data.data() + at);
        if (explains(read, hash, begun)) continue;
        const char* what = hash == hash_of_zeroes() ? "zeroes" : "data that nobody wrote";
        for (const Version& version : read.versions)
            if (version.known && version.hash == hash) what = "data that was overwritten before";
        return fmt::format(
            "disk '{}': sector {} (byte {}) reads as {}, not as the last acknowledged write", name_,
            number, number * sector_bytes, what);
    }
    return {};
}

void ContentOracle::settled(Moment begun, std::uint64_t offset, std::uint64_t length) {
    if (begun < power_lost_) return;
    for (std::uint64_t at = 0; at < length; at += sector_bytes) {
        Sector& written = sector((offset + at) / sector_bytes);
        const Moment oldest_read = reads_.empty() ? never : reads_.front();
        erase_if(written.versions, [&](const Version& version) {
            return version.dead != never && version.dead <= oldest_read;
        });
    }
}

void ContentOracle::power_lost() {
    const Moment moment = power_lost_ = ++now_;
    for (const auto& page : pages_) {
        if (!page) continue;
        for (Sector& lost : *page) {
            clean(lost);
            if (lost.forgot) lost.versions.assign(1, Version{.known = false});
            lost.forgot = false;
            for (Version& version : lost.versions) {
                version.ended = std::min(version.ended, moment);
                version.dead = never;
            }
        }
    }
}

}  // namespace hwmodels::guest
