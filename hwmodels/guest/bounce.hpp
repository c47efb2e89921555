// SPDX-License-Identifier: Apache-2.0
// Bounce: a buffer in guest memory for the length of a scope.
#pragma once
#include <cstdint>

#include "hwmodels/guest/heap.hpp"
#include "hwmodels/machine.hpp"

namespace hwmodels::guest {

// The guest kernel's own state on one machine: its heap. Made at first use.
GuestHeap& heap_of(Machine& machine);

class Bounce {
public:
    Bounce(Machine& machine, std::uint64_t bytes)
        : heap_(heap_of(machine)), address_(heap_.take(bytes)) {
        if (address_ != 0) bytes_ = machine.memory().span(address_, bytes);
    }
    Bounce(const Bounce&) = delete;
    Bounce& operator=(const Bounce&) = delete;
    ~Bounce() {
        if (address_ != 0) heap_.give_back(address_);
    }

    GuestAddress address() const { return address_; }
    std::byte* bytes() const { return bytes_; }  // nullptr: the guest is out of memory

private:
    GuestHeap& heap_;
    GuestAddress address_;
    std::byte* bytes_ = nullptr;
};

}  // namespace hwmodels::guest
