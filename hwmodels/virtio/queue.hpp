// SPDX-License-Identifier: Apache-2.0
// VirtQueue: the device's end of a split ring in guest memory.
//
// Everything in the ring is the guest's and may be nonsense or change at any moment: each field is
// read once, checked, and then used. Nonsense makes the queue broken, nothing else.
//
// source     VIRTIO 1.2 section 2.7 (split virtqueues), 2.7.5.3 (indirect), 2.7.10 (event index).
// invariant  a chain popped and not yet pushed counts in in_use(), at most the queue's size
#pragma once
#include <cstdint>
#include <vector>

#include "hwmodels/host_bus/guest_memory.hpp"
#include "sim/io_view.hpp"

namespace hwmodels {

namespace virtio_ring {
constexpr std::uint16_t flag_next = 1, flag_write = 2, flag_indirect = 4;
constexpr std::uint16_t avail_no_interrupt = 1, used_no_notify = 1;
constexpr std::uint32_t descriptor_bytes = 16, used_element_bytes = 8;
}  // namespace virtio_ring

// A descriptor chain: what the device reads (out) and what it writes (in). Lists are reused.
struct Chain {
    std::uint16_t head = 0;
    std::vector<sim::IoVec> out, in;
    std::uint64_t out_bytes = 0, in_bytes = 0;
};

enum class PopResult : std::uint8_t { empty, chain, broken };

class VirtQueue {
public:
    static constexpr std::uint32_t size_max = 1024;

    // As the driver sets them up; read by the transport's registers.
    std::uint16_t size = 0;
    std::uint16_t vector = 0xffff;
    bool enabled = false;
    std::uint64_t descriptors = 0, available = 0, used = 0;

    // Maps the ring. False: it does not lie in memory, or its size is no power of two.
    bool start(const GuestMemory& memory, bool event_index, bool indirect);
    void reset(std::uint16_t default_size);
    bool started() const { return memory_ != nullptr; }

    PopResult pop(Chain& chain);
    // The chain goes back to the driver, `written` bytes of its in part filled.
    void push(std::uint16_t head, std::uint32_t written);
    // The chain goes nowhere: its queue is being reset.
    void forget_chain();
    // Does the driver want to hear of what was pushed since the last call?
    bool take_interrupt();
    // Doorbells on or off. True from enable: there is something new already.
    void disable_notify();
    bool enable_notify();
    std::uint32_t in_use() const { return in_use_; }

private:
    struct Descriptor {
        std::uint64_t address;
        std::uint32_t length;
        std::uint16_t flags, next;
    };
    bool walk(Chain& chain);
    bool add(Chain& chain, const Descriptor& descriptor) const;

    const GuestMemory* memory_ = nullptr;
    const std::byte* descriptors_ = nullptr;
    const std::byte* available_ = nullptr;
    std::byte* used_ = nullptr;
    std::uint16_t mask_ = 0;
    std::uint16_t last_available_ = 0, used_index_ = 0, signalled_ = 0;
    std::uint32_t in_use_ = 0;
    bool event_index_ = false, indirect_ = false, signalled_valid_ = false;
};

}  // namespace hwmodels
