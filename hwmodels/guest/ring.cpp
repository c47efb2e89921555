// SPDX-License-Identifier: Apache-2.0
#include "hwmodels/guest/ring.hpp"

#include <algorithm>
#include <cstring>

#include "hwmodels/virtio/queue.hpp"

namespace hwmodels::guest {

namespace {

void put_descriptor(std::byte* at, GuestAddress address, std::uint32_t length, std::uint16_t flags,
                    std::uint16_t next) {
    store(at, address);
    store(at + 8, length);
    store(at + 12, flags);
    store(at + 14, next);
}

}  // namespace

Ring::Ring(const GuestMemory& memory, GuestHeap& heap, std::uint16_t size, bool event_index,
           bool indirect)
    : heap_(heap),
      size_(size),
      event_index_(event_index),
      indirect_(indirect),
      stride_(indirect ? 1 : run_length),
      table_entries_(std::clamp(size, table_entries_min, table_entries_max)),
      in_flight_(size) {
    EXPECTS(size >= stride_ && (size & (size - 1)) == 0);
    const std::uint64_t n = size;
    descriptors_ = heap.take(n * virtio_ring::descriptor_bytes);
    available_ = heap.take(6 + 2 * n);
    used_ = heap.take(6 + 8 * n);
    tables_ = indirect ? heap.take(n * table_bytes()) : 0;
    EXPECTS(descriptors_ != 0 && available_ != 0 && used_ != 0 && (tables_ != 0) == indirect);
    descriptor_bytes_ = memory.span(descriptors_, n * virtio_ring::descriptor_bytes);
    available_bytes_ = memory.span(available_, 6 + 2 * n);
    used_bytes_ = memory.span(used_, 6 + 8 * n);
    if (indirect) table_bytes_ = memory.span(tables_, n * table_bytes());
    std::memset(available_bytes_, 0, 6 + 2 * n);
    std::memset(used_bytes_, 0, 6 + 8 * n);
}

Ring::~Ring() {
    for (const GuestAddress block : {descriptors_, available_, used_, tables_})
        if (block != 0) heap_.give_back(block);
}

std::uint64_t Ring::table_bytes() const {
    return std::uint64_t{table_entries_} * virtio_ring::descriptor_bytes;
}

void Ring::add(std::uint16_t slot, std::span<const Segment> segments) {
    EXPECTS(slot < slots() && !segments.empty() && segments.size() <= segments_max());
    const auto first = static_cast<std::uint16_t>(slot * stride_);
    std::byte* entry = descriptor_bytes_ + std::size_t{first} * virtio_ring::descriptor_bytes;
    std::byte* at = indirect_ ? table_bytes_ + slot * table_bytes() : entry;
    std::uint16_t index = indirect_ ? 0 : first;
    std::size_t left = segments.size();
    for (const Segment& segment : segments) {
        ++index;
        std::uint16_t flags = segment.device_writes ? virtio_ring::flag_write : 0;
        if (--left > 0) flags |= virtio_ring::flag_next;
        put_descriptor(at, segment.address, segment.length, flags, index);
        at += virtio_ring::descriptor_bytes;
    }
    if (indirect_)
        put_descriptor(entry, tables_ + slot * table_bytes(),
                       static_cast<std::uint32_t>(segments.size() * virtio_ring::descriptor_bytes),
                       virtio_ring::flag_indirect, 0);
    publish(slot);
}

void Ring::add_again(std::uint16_t slot) {
    EXPECTS(slot < slots());
    publish(slot);
}

void Ring::publish(std::uint16_t slot) {
    EXPECTS(!in_flight_[slot]);
    in_flight_[slot] = true;
    store<std::uint16_t>(available_bytes_ + 4 + 2 * (next_available_ & (size_ - 1)),
                         static_cast<std::uint16_t>(slot * stride_));
    ++next_available_;
    store<std::uint16_t>(available_bytes_ + 2, next_available_);
}

bool Ring::take_kick() {
    const std::uint16_t before = kicked_, now = next_available_;
    kicked_ = now;
    if (before == now) return false;
    if (!event_index_) return (load<std::uint16_t>(used_bytes_) & virtio_ring::used_no_notify) == 0;
    const auto event = load<std::uint16_t>(used_bytes_ + 4 + 8 * std::size_t{size_});
    return static_cast<std::uint16_t>(now - event - 1) < static_cast<std::uint16_t>(now - before);
}

}  // namespace hwmodels::guest
