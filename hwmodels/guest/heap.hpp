// SPDX-License-Identifier: Apache-2.0
// GuestHeap: the guest kernel's memory: what its drivers take for rings and buffers.
//
// First fit over the machine's RAM above the first megabyte; freed blocks are joined again.
#pragma once
#include <cstdint>
#include <iterator>
#include <map>

#include "hwmodels/host_bus/guest_memory.hpp"
#include "sim/check.hpp"

namespace hwmodels::guest {

class GuestHeap {
public:
    static constexpr std::uint64_t first = 1 << 20, align = 64;

    explicit GuestHeap(const GuestMemory& memory) { free_[first] = memory.size() - first; }

    // 0: no memory is left. Aligned to 4096 when that large, else to 64.
    GuestAddress take(std::uint64_t bytes) {
        const std::uint64_t to = bytes >= 4096 ? 4096 : align;
        const std::uint64_t size = (bytes + align - 1) / align * align;
        for (auto at = free_.begin(); at != free_.end(); ++at) {
            const std::uint64_t begin = (at->first + to - 1) / to * to;
            const std::uint64_t end = at->first + at->second;
            if (begin > end || end - begin < size) continue;
            const std::uint64_t from = at->first;
            free_.erase(at);
            if (begin > from) free_[from] = begin - from;
            if (end > begin + size) free_[begin + size] = end - begin - size;
            taken_[begin] = size;
            return begin;
        }
        return 0;
    }

    void give_back(GuestAddress address) {
        const auto block = taken_.find(address);
        EXPECTS(block != taken_.end());
        auto at = free_.emplace(block->first, block->second).first;
        taken_.erase(block);
        const auto next = std::next(at);
        if (next != free_.end() && at->first + at->second == next->first) {
            at->second += next->second;
            free_.erase(next);
        }
        if (at == free_.begin()) return;
        const auto before = std::prev(at);
        if (before->first + before->second != at->first) return;
        before->second += at->second;
        free_.erase(at);
    }
    std::size_t blocks_taken() const { return taken_.size(); }

private:
    std::map<GuestAddress, std::uint64_t> free_, taken_;
};

}  // namespace hwmodels::guest
