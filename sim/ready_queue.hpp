// SPDX-License-Identifier: Apache-2.0
// ReadyQueue: who can run next, in the order in which they became ready; any of them can be taken.
//
// Few are ready at a time, and the schedule takes the k-th, whichever that is. So the order of the
// first sixteen is one word, four bits each, and taking one out of the middle needs no loop, whose
// end a processor could not foresee.
//
// invariant  the word names each of the sixteen slots once: those in use first, then the free ones;
//            further ones wait only while all slots are in use
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>

#include "sim/check.hpp"

namespace sim {

class Runnable;

class ReadyQueue {
public:
    bool empty() const { return size_ == 0; }
    std::size_t size() const { return size_; }

    void push(Runnable& runnable) {
        if (size_ >= slots_max) [[unlikely]]
            far_.push_back(&runnable);
        else
            slots_[slot(size_)] = &runnable;
        ++size_;
    }

    Runnable& at(std::size_t k) const {  // the k-th, oldest first
        EXPECTS(k < size_);
        return k < slots_max ? *slots_[slot(k)] : *far_[k - slots_max];
    }

    Runnable& take(std::size_t k) {
        EXPECTS(k < size_);
        return size_-- <= slots_max ? take_near(k) : take_of_many(k);
    }

    // It is in the queue no more, if it was.
    void forget(const Runnable& runnable) {
        for (std::size_t k = 0; k < size_; ++k)
            if (&at(k) == &runnable) {
                take(k);
                return;
            }
    }
    void clear() {
        size_ = 0;
        far_.clear();
    }

private:
    static constexpr std::size_t slots_max = 16;
    std::size_t slot(std::size_t k) const { return order_ >> (4 * k) & 15; }
    Runnable& take_near(std::size_t k) {
        const std::uint64_t freed = slot(k);
        const std::uint64_t before = (std::uint64_t{1} << (4 * k)) - 1;
        order_ = (order_ & before) | (order_ >> 4 & ~before) | freed << 60;
        return *slots_[freed];
    }
    Runnable& take_of_many(std::size_t k);

    std::uint64_t order_ = 0xfedc'ba98'7654'3210;
    std::size_t size_ = 0;
    std::array<Runnable*, slots_max> slots_{};
    std::deque<Runnable*> far_;
};

}  // namespace sim
