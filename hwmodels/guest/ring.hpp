// SPDX-License-Identifier: Apache-2.0
// Ring: the driver's end of a split virtqueue.
//
// Every request in flight has a slot. With indirect descriptors that is one entry of the ring,
// which points to a table of the slot's own; without, a slot is a fixed run of a few entries. So a
// slot's descriptors are written once where a request's shape stays the same.
//
// source     VIRTIO 1.2 section 2.7.
// invariant  a slot is in flight from add() until poll() has reported it
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "hwmodels/guest/heap.hpp"
#include "hwmodels/host_bus/guest_memory.hpp"

namespace hwmodels::guest {

struct Segment {
    GuestAddress address = 0;
    std::uint32_t length = 0;
    bool device_writes = false;
};

class Ring {
public:
    Ring(const GuestMemory& memory, GuestHeap& heap, std::uint16_t size, bool event_index,
         bool indirect);
    Ring(const Ring&) = delete;
    Ring& operator=(const Ring&) = delete;
    ~Ring();

    std::uint16_t size() const { return size_; }
    std::uint16_t slots() const { return static_cast<std::uint16_t>(size_ / stride_); }
    std::size_t segments_max() const { return indirect_ ? table_entries_ : stride_; }
    GuestAddress descriptors() const { return descriptors_; }
    GuestAddress available() const { return available_; }
    GuestAddress used() const { return used_; }

    // A table has as many entries as the ring, within these bounds.
    static constexpr std::uint16_t table_entries_min = 8, table_entries_max = 126;
    // Makes the request available to the device (which sees it once it looks). Up to segments_max;
    // the slot must not be in flight.
    void add(std::uint16_t slot, std::span<const Segment> segments);
    // The same descriptors as the slot had last time.
    void add_again(std::uint16_t slot);
    // Does the device want its doorbell rung for what was added since the last call?
    bool take_kick();
    // Calls f(slot, written) for each finished request. What the device claims is checked: a slot
    // that is not in flight is skipped and counted.
    template <class F>
    void poll(F&& f) {
        while (true) {
            const auto index = load<std::uint16_t>(used_bytes_ + 2);
            if (index == last_used_) return;
            const std::byte* element = used_bytes_ + 4 + 8 * (last_used_ & (size_ - 1));
            const auto head = load<std::uint32_t>(element);
            const std::uint32_t slot = head / stride_;
            const auto written = load<std::uint32_t>(element + 4);
            ++last_used_;
            // Ask to hear of the next one before looking again, so that none is missed.
            if (event_index_)
                store<std::uint16_t>(available_bytes_ + 4 + 2 * std::size_t{size_}, last_used_);
            if (head % stride_ != 0 || slot >= slots() || !in_flight_[slot]) {
                ++spurious_;
                continue;
            }
            in_flight_[slot] = false;
            f(static_cast<std::uint16_t>(slot), written);
        }
    }
    bool in_flight(std::uint16_t slot) const { return in_flight_[slot]; }
    std::uint64_t spurious() const { return spurious_; }

private:
    static constexpr std::uint16_t run_length = 4;  // entries of a slot without a table
    void publish(std::uint16_t slot);
    std::uint64_t table_bytes() const;

    GuestHeap& heap_;
    std::uint16_t size_;
    bool event_index_, indirect_;
    std::uint16_t stride_;
    std::uint16_t table_entries_;
    GuestAddress descriptors_, available_, used_, tables_;
    std::byte* table_bytes_ = nullptr;
    std::byte* available_bytes_;
    std::byte* used_bytes_;
    std::uint16_t next_available_ = 0, kicked_ = 0, last_used_ = 0;
    std::vector<bool> in_flight_;
    std::uint64_t spurious_ = 0;
    std::byte* descriptor_bytes_;
};

}  // namespace hwmodels::guest
