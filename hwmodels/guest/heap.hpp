// SPDX-License-Identifier: Apache-2.0
// GuestHeap: the guest kernel's memory: what its drivers take for rings and buffers.
//
// First fit over the machine's RAM above the first megabyte; freed blocks are joined again.
// Watched, free memory has a mark in each sector: a device that still writes to what was given back
// is found out when the memory is taken again, or by check().
//
// invariant  watched, each free sector that was ever taken has its mark
#pragma once
#include <algorithm>
#include <cstdint>
#include <iterator>
#include <string>
#include <vector>

#include "hwmodels/host_bus/guest_memory.hpp"
#include "sim/check.hpp"

namespace hwmodels::guest {

class GuestHeap {
public:
    static constexpr std::uint64_t first = 1 << 20, align = 64;

    explicit GuestHeap(const GuestMemory& memory)
        : GuestHeap(memory, first, memory.size() - first) {}
    // Within a block of another one.
    GuestHeap(const GuestMemory& memory, GuestAddress begin, std::uint64_t size)
        : memory_(memory), used_end_(begin) {
        if (size > 0) free_.push_back({begin, size});
    }
    bool watched() const { return watched_; }
    // From here on.
    void watch() {
        watched_ = true;
        for (const Block& block : taken_) used_end_ = std::max(used_end_, block.begin + block.size);
        for (const Block& block : free_)
            if (block.begin < used_end_) mark(block.begin, block.size);
    }
    void check() const {
        for (const Block& block : free_) expect_marks(block);
    }

    // 0: no memory is left. Aligned to 4096 when that large, else to 64.
    GuestAddress take(std::uint64_t bytes) {
        const std::uint64_t to = bytes >= 4096 ? 4096 : align;
        const std::uint64_t size = (bytes + align - 1) / align * align;
        for (auto at = free_.begin(); at != free_.end(); ++at) {
            const std::uint64_t begin = (at->begin + to - 1) / to * to;
            const std::uint64_t end = at->begin + at->size;
            if (begin > end || end - begin < size) continue;
            // What is left free in front of it had no marks if nothing behind it was taken before.
            const GuestAddress at_gap = std::max(at->begin, used_end_);
            const Block behind{begin + size, end - begin - size};
            at->size = begin - at->begin;
            if (at->size == 0 && behind.size == 0)
                free_.erase(at);
            else if (at->size == 0)
                *at = behind;
            else if (behind.size > 0)
                free_.insert(std::next(at), behind);
            taken_.insert(place_of(taken_, begin), {begin, size});
            if (watched_) {
                expect_marks({begin, size});
                if (at_gap < begin) mark(at_gap, begin - at_gap);
                used_end_ = std::max(used_end_, begin + size);
            }
            return begin;
        }
        return 0;
    }

    void give_back(GuestAddress address) {
        const auto found = place_of(taken_, address);
        EXPECTS(found != taken_.end() && found->begin == address);
        const Block block = *found;
        taken_.erase(found);
        if (watched_) mark(block.begin, block.size);
        const auto next = place_of(free_, address);
        const bool meets_next = next != free_.end() && block.begin + block.size == next->begin;
        const auto before = next == free_.begin() ? free_.end() : std::prev(next);
        const bool meets_before =
            before != free_.end() && before->begin + before->size == block.begin;
        if (meets_before) {
            before->size += block.size + (meets_next ? next->size : 0);
            if (meets_next) free_.erase(next);
        } else if (meets_next) {
            *next = {block.begin, block.size + next->size};
        } else {
            free_.insert(next, block);
        }
    }
    std::size_t blocks_taken() const { return taken_.size(); }

private:
    struct Block {
        GuestAddress begin;
        std::uint64_t size;
    };
    using Blocks = std::vector<Block>;  // by address
    static Blocks::iterator place_of(Blocks& blocks, GuestAddress address) {
        const auto is_before = [](const Block& block, GuestAddress at) { return block.begin < at; };
        return std::lower_bound(blocks.begin(), blocks.end(), address, is_before);
    }

    static constexpr std::uint64_t sector = 512, the_mark = 0xf4ee'f4ee'f4ee'f4ee;
    template <class F>
    void each_mark(GuestAddress begin, GuestAddress end, F&& f) const {
        const GuestAddress first_mark = (begin + sector - 1) / sector * sector;
        if (first_mark + 8 > end) return;
        std::byte* const bytes = memory_.span(first_mark, end - first_mark);
        for (GuestAddress at = first_mark; at + 8 <= end; at += sector)
            f(bytes + (at - first_mark), at);
    }
    void mark(GuestAddress begin, std::uint64_t size) const {
        each_mark(begin, begin + size, [](std::byte* to, GuestAddress) { store(to, the_mark); });
    }
    void expect_marks(const Block& block) const {
        if (!watched_) return;
        each_mark(
            block.begin, std::min(block.begin + block.size, used_end_),
            [](const std::byte* from, GuestAddress at) {
                if (load<std::uint64_t>(from) != the_mark)
                    throw sim::AssertionFailure("guest memory at " + std::to_string(at) +
                                                " was written to after it had been given back");
            });
    }

    const GuestMemory& memory_;
    Blocks free_, taken_;
    bool watched_ = false;
    GuestAddress used_end_;  // what lies behind was never taken
};

}  // namespace hwmodels::guest
