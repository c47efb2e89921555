// SPDX-License-Identifier: Apache-2.0
#include "sim/ready_queue.hpp"

namespace sim {

// Of more than there are slots, one more than size_ says by now.
Runnable& ReadyQueue::take_of_many(std::size_t k) {
    if (k >= slots_max) {
        const auto place = far_.begin() + static_cast<std::ptrdiff_t>(k - slots_max);
        Runnable& taken = **place;
        far_.erase(place);
        return taken;
    }
    Runnable& taken = take_near(k);
    slots_[slot(slots_max - 1)] = far_.front();
    far_.pop_front();
    return taken;
}

}  // namespace sim
