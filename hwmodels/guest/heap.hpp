// SPDX-License-Identifier: Apache-2.0
// GuestHeap: the guest kernel's memory: what its drivers take for rings and buffers.
//
// First fit over the machine's RAM above the first megabyte; freed blocks are joined again.
#pragma once
#include <algorithm>
#include <cstdint>
#include <iterator>
#include <vector>

#include "hwmodels/host_bus/guest_memory.hpp"
#include "sim/check.hpp"

namespace hwmodels::guest {

class GuestHeap {
public:
    static constexpr std::uint64_t first = 1 << 20, align = 64;

    explicit GuestHeap(const GuestMemory& memory) : GuestHeap(first, memory.size() - first) {}
    // Within a block of another one.
    GuestHeap(GuestAddress begin, std::uint64_t size) {
        if (size > 0) free_.push_back({begin, size});
    }

    // 0: no memory is left. Aligned to 4096 when that large, else to 64.
    GuestAddress take(std::uint64_t bytes) {
        const std::uint64_t to = bytes >= 4096 ? 4096 : align;
        const std::uint64_t size = (bytes + align - 1) / align * align;
        for (auto at = free_.begin(); at != free_.end(); ++at) {
            const std::uint64_t begin = (at->begin + to - 1) / to * to;
            const std::uint64_t end = at->begin + at->size;
            if (begin > end || end - begin < size) continue;
            const Block behind{begin + size, end - begin - size};
            at->size = begin - at->begin;
            if (at->size == 0 && behind.size == 0)
                free_.erase(at);
            else if (at->size == 0)
                *at = behind;
            else if (behind.size > 0)
                free_.insert(std::next(at), behind);
            taken_.insert(place_of(taken_, begin), {begin, size});
            return begin;
        }
        return 0;
    }

    void give_back(GuestAddress address) {
        const auto found = place_of(taken_, address);
        EXPECTS(found != taken_.end() && found->begin == address);
        const Block block = *found;
        taken_.erase(found);
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

    Blocks free_, taken_;
};

}  // namespace hwmodels::guest
