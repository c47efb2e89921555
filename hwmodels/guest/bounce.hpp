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
    Bounce(Machine& machine, std::uint64_t bytes) : Bounce(machine, nullptr, bytes) {}
    // From a driver's own memory, if that is enough.
    Bounce(Machine& machine, GuestHeap* own, std::uint64_t bytes) : machine_(machine), own_(own) {
        if (own_ != nullptr) address_ = own_->take(bytes);
        if (address_ == 0) {
            own_ = nullptr;
            address_ = kernels().take(bytes);
        }
        if (address_ != 0) bytes_ = machine.memory().span(address_, bytes);
    }
    Bounce(const Bounce&) = delete;
    Bounce& operator=(const Bounce&) = delete;
    ~Bounce() {
        if (address_ != 0) (own_ != nullptr ? *own_ : kernels()).give_back(address_);
    }

    GuestAddress address() const { return address_; }
    std::byte* bytes() const { return bytes_; }  // nullptr: the guest is out of memory

private:
    GuestHeap& kernels() {
        machine_.world().touch(sim::Place());  // all drivers'
        return heap_of(machine_);
    }

    Machine& machine_;
    GuestHeap* own_;  // nullptr: it is from the kernel's heap
    GuestAddress address_ = 0;
    std::byte* bytes_ = nullptr;
};

}  // namespace hwmodels::guest
