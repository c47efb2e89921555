// SPDX-License-Identifier: Apache-2.0
#include "hwmodels/virtio/queue.hpp"

#include "sim/check.hpp"
#include "sim/mutant.hpp"

namespace hwmodels {

using namespace virtio_ring;

namespace {

constexpr std::uint64_t avail_ring = 4, used_ring = 4;
constexpr std::uint64_t chain_bytes_max = UINT32_MAX;

}  // namespace

bool VirtQueue::start(const GuestMemory& memory, bool event_index, bool indirect) {
    memory_ = nullptr;
    const std::uint64_t n = size;
    if (n == 0 || n > size_max || (n & (n - 1)) != 0) return false;
    if (descriptors % 16 != 0 || available % 2 != 0 || used % 4 != 0) return false;
    descriptors_ = memory.span(descriptors, n * descriptor_bytes);
    available_ = memory.span(available, avail_ring + n * 2 + 2);
    used_ = memory.span(used, used_ring + n * used_element_bytes + 2);
    if (descriptors_ == nullptr || available_ == nullptr || used_ == nullptr) return false;
    memory_ = &memory;
    mask_ = static_cast<std::uint16_t>(n - 1);
    event_index_ = event_index;
    indirect_ = indirect;
    last_available_ = 0;
    used_index_ = load<std::uint16_t>(used_ + 2);
    signalled_ = used_index_;
    signalled_valid_ = false;
    in_use_ = 0;
    return true;
}

void VirtQueue::reset(std::uint16_t default_size) {
    *this = VirtQueue();
    size = default_size;
}

bool VirtQueue::add(Chain& chain, const Descriptor& descriptor) const {
    std::byte* data = memory_->span(descriptor.address, descriptor.length);
    if (data == nullptr) return false;
    if ((descriptor.flags & flag_write) != 0) {
        chain.in.push_back({data, descriptor.length});
        chain.in_bytes += descriptor.length;
    } else {
        if (!chain.in.empty()) return false;  // all the device reads comes first
        chain.out.push_back({data, descriptor.length});
        chain.out_bytes += descriptor.length;
    }
    return chain.in_bytes <= chain_bytes_max && chain.out_bytes <= chain_bytes_max &&
           chain.in.size() + chain.out.size() <= size_max;
}

bool VirtQueue::walk(Chain& chain) {
    const std::byte* table = descriptors_;
    std::uint32_t count = static_cast<std::uint32_t>(mask_) + 1;
    std::uint32_t at = chain.head, steps = 0;
    bool inside = false;
    while (true) {
        // A chain is no longer than its table: more steps are a loop.
        if (at >= count || ++steps > count) return false;
        const auto descriptor = load<Descriptor>(table + std::size_t{at} * descriptor_bytes);
        if ((descriptor.flags & flag_indirect) != 0) {
            if (!indirect_ || inside || (descriptor.flags & flag_next) != 0) return false;
            if (descriptor.length == 0 || descriptor.length % descriptor_bytes != 0) return false;
            table = memory_->span(descriptor.address, descriptor.length);
            if (table == nullptr) return false;
            count = descriptor.length / descriptor_bytes;
            if (count > size_max) return false;
            inside = true;
            at = steps = 0;
            continue;
        }
        if (!add(chain, descriptor)) return false;
        if ((descriptor.flags & flag_next) == 0) return true;
        at = descriptor.next;
    }
}

PopResult VirtQueue::pop(Chain& chain) {
    EXPECTS(started());
    const auto index = load<std::uint16_t>(available_ + 2);
    if (index == last_available_) return PopResult::empty;
    const std::uint32_t count = static_cast<std::uint32_t>(mask_) + 1;
    if (static_cast<std::uint16_t>(index - last_available_) > count) return PopResult::broken;
    if (in_use_ >= count) return PopResult::broken;
    chain.head = load<std::uint16_t>(available_ + avail_ring + 2 * (last_available_ & mask_));
    chain.out.clear();
    chain.in.clear();
    chain.out_bytes = chain.in_bytes = 0;
    if (chain.head >= count || !walk(chain)) return PopResult::broken;
    ++last_available_;
    ++in_use_;
    return PopResult::chain;
}

void VirtQueue::push(std::uint16_t head, std::uint32_t written) {
    EXPECTS(started() && in_use_ > 0);
    --in_use_;
    std::byte* element =
        used_ + used_ring + std::size_t{used_element_bytes} * (used_index_ & mask_);
    store<std::uint32_t>(element, head);
    store<std::uint32_t>(element + 4, written);
    ++used_index_;
    store<std::uint16_t>(used_ + 2, used_index_);
}

void VirtQueue::forget_chain() {
    EXPECTS(in_use_ > 0);
    --in_use_;
}

bool VirtQueue::take_interrupt() {
    const std::uint16_t before = signalled_, now = used_index_;
    const bool valid = signalled_valid_;
    if (before == now && valid) return false;
    signalled_ = now;
    signalled_valid_ = true;
    if (!event_index_) return (load<std::uint16_t>(available_) & avail_no_interrupt) == 0;
    const auto event = load<std::uint16_t>(available_ + avail_ring + 2 * (std::size_t{mask_} + 1));
    return !valid ||
           static_cast<std::uint16_t>(now - event - 1) <
               static_cast<std::uint16_t>(
                   now - before - (sim::mutant<"virtio: event index off by one">() ? 1 : 0));
}

void VirtQueue::disable_notify() {
    if (!event_index_) store<std::uint16_t>(used_, used_no_notify);
}

bool VirtQueue::enable_notify() {
    if (event_index_)
        store<std::uint16_t>(used_ + used_ring + std::size_t{used_element_bytes} * (mask_ + 1U),
                             last_available_);
    else
        store<std::uint16_t>(used_, 0);
    return load<std::uint16_t>(available_ + 2) != last_available_;
}

}  // namespace hwmodels
