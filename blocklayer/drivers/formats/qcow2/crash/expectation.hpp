// SPDX-License-Identifier: Apache-2.0
// Expectation: what a disk may read as after a power cut.
//
// Every sector holds the pattern of one tag: zeroes, the backing file's, what was there at first,
// or that of the operation which wrote it. Until a flush completes a sector may have kept its old
// contents or got any of those that operations gave it since; after it, only the latest.
//
// units  sectors of 512 bytes
#pragma once
#include <cstddef>
#include <cstdint>
#include <set>
#include <span>
#include <vector>

namespace blocklayer::qcow2::crash {

constexpr std::uint64_t sector_bytes = 512;

using Tag = std::uint8_t;
constexpr Tag tag_zero = 0, tag_backing = 1, tag_first = 2, tag_operation = 3;
using TagMask = std::uint32_t;
constexpr unsigned tags_max = 32;
constexpr TagMask any_tag = ~TagMask{0};

// The pattern of a tag at this sector of the disk; zeroes for tag_zero.
void fill_sector(std::span<std::byte> bytes, std::uint64_t sector, Tag tag);
// The tag whose pattern this is; tags_max: none's.
Tag tag_of(std::span<const std::byte> bytes, std::uint64_t sector);

class Expectation {
public:
    explicit Expectation(std::uint64_t sectors);

    // An operation that may change the sectors has begun ...
    void may_become(std::uint64_t first, std::uint64_t count, Tag tag);
    // ... and has ended; this is what they read as now.
    void is_now(std::uint64_t sector, Tag tag);
    void may_have_size(std::uint64_t sectors);
    void has_size(std::uint64_t sectors);
    void flushed();

    std::uint64_t size() const { return size_; }
    bool allows(std::uint64_t sector, Tag tag) const {
        return tag < tags_max && sector < allowed_.size() && (allowed_[sector] >> tag & 1) != 0;
    }
    bool allows_size(std::uint64_t sectors) const { return sizes_.contains(sectors); }
    // Of everything that allows() and allows_size() say.
    std::uint64_t hash() const;

private:
    void reach(std::uint64_t sectors);

    std::vector<Tag> now_;
    std::vector<TagMask> allowed_;
    std::uint64_t size_;
    std::set<std::uint64_t> sizes_;
};

// Of memory contents; not for adversaries.
std::uint64_t hash_bytes(std::span<const std::byte> bytes, std::uint64_t seed);

}  // namespace blocklayer::qcow2::crash
