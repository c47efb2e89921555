// SPDX-License-Identifier: Apache-2.0
// Unaligned requests: whole blocks are read, and written back with the caller's bytes in them. No
// other request may touch the blocks meanwhile.
#include "blocklayer/requests/memory.hpp"
#include "blocklayer/requests/request.hpp"

#include "blocklayer/requests/debug_event.hpp"
#include "blocklayer/layer.hpp"
#include "sim/mutant.hpp"

namespace blocklayer {

bool RequestLayer::all_zeroes(sim::IoView view) {
    bool zero = true;
    view.for_each([&](std::span<const std::byte> piece) {
        zero = zero && piece.front() == std::byte{0} &&
               std::memcmp(piece.data(), piece.data() + 1, piece.size() - 1) == 0;
    });
    return zero;
}

PaddedView::PaddedView(std::uint64_t offset, sim::IoView inner, std::uint64_t align)
    : align_(align), offset_(offset - offset % align), head_(offset % align) {
    const std::uint64_t end = offset + inner.size();
    tail_ = end % align == 0 ? 0 : align - end % align;
    edges_.resize(head_ + inner.size() + tail_ == align ? align : 2 * align);
    if (head_ > 0) segments_.push_back({edges_.data(), head_});
    inner.for_each([&](std::span<std::byte> piece) {
        segments_.push_back({piece.data(), piece.size()});
    });
    if (tail_ > 0) segments_.push_back({edges_.data() + edges_.size() - tail_, tail_});
    view_ = sim::IoView(segments_);
}

IoStatus RequestLayer::read(sim::Co& co, Node& node, TrackedRequest& tracked, sim::IoView into,
                            RequestFlags flags) {
    if (into.empty()) return {};
    if (stack_is_short(co)) return Unexpected(Errno::no_memory);
    const std::uint64_t align = node.limits().request_alignment;
    if (flags.has(RequestFlag::serialising) ||
        (flags.has(RequestFlag::copy_on_read) &&
         !sim::mutant<"copy-on-read: copies are not serialised">())) {
        const std::uint64_t cluster = flags.has(RequestFlag::copy_on_read)
                                          ? std::max(align, node.driver().info().cluster_size)
                                          : align;
        if (!tracked.make_serialising(co, cluster, !flags.has(RequestFlag::no_wait)))
            return Unexpected(Errno::busy);
    } else {
        tracked.wait_for_serialising(co);
    }
    if (((tracked.offset() | into.size()) & (align - 1)) == 0)
        return read_blocks(co, node, tracked.offset(), into, flags);
    TRY(memory_for(node, "whole blocks of a read"));
    const PaddedView padded(tracked.offset(), into, align);
    return read_blocks(co, node, padded.offset(), padded.view(), flags);
}

// Reads the first and last block of a write that covers them only in part.
IoStatus RequestLayer::complete_blocks(sim::Co& co, Node& node, const PaddedView& padded) {
    const auto read_block = [&](sim::IoView block, std::uint64_t offset) {
        return read_blocks(co, node, offset, block, RequestFlag::inconsistent_ok);
    };
    const bool one_block = padded.one_block();
    if (padded.head() || (one_block && padded.tail())) {
        if (padded.head()) fire(co, node, DebugEvent::pwritev_rmw_head);
        if (one_block && padded.tail()) fire(co, node, DebugEvent::pwritev_rmw_tail);
        TRY(read_block(padded.first_block(), padded.offset()));
        if (padded.head()) fire(co, node, DebugEvent::pwritev_rmw_after_head);
        if (one_block && padded.tail()) fire(co, node, DebugEvent::pwritev_rmw_after_tail);
    }
    if (padded.tail() && !one_block &&
        !sim::mutant<"requests: the last block is not completed">()) {
        fire(co, node, DebugEvent::pwritev_rmw_tail);
        TRY(read_block(padded.last_block(),
                       padded.offset() + padded.size() - padded.last_block().size()));
        fire(co, node, DebugEvent::pwritev_rmw_after_tail);
    }
    return {};
}

IoStatus RequestLayer::write(sim::Co& co, Node& node, TrackedRequest& tracked, sim::IoView from,
                             RequestFlags flags) {
    if (from.empty()) return {};
    if (stack_is_short(co)) return Unexpected(Errno::no_memory);
    const std::uint64_t align = node.limits().request_alignment;
    const bool whole_blocks = ((tracked.offset() | from.size()) & (align - 1)) == 0;
    if ((!whole_blocks && !sim::mutant<"requests: a read-modify-write is not serialised">()) ||
        flags.has(RequestFlag::serialising)) {
        if (!tracked.make_serialising(co, align, !flags.has(RequestFlag::no_wait)))
            return Unexpected(Errno::busy);
    } else {
        tracked.wait_for_serialising(co);
    }
    flags = flags.without(RequestFlag::serialising | RequestFlag::no_wait);
    if (whole_blocks) return write_blocks(co, node, tracked.offset(), from, flags);
    TRY(memory_for(node, "whole blocks of a write"));
    const PaddedView padded(tracked.offset(), from, align);
    TRY(complete_blocks(co, node, padded));
    return write_blocks(co, node, padded.offset(), padded.view(), flags);
}

IoStatus RequestLayer::write_blocks(sim::Co& co, Node& node, std::uint64_t offset, sim::IoView from,
                                    RequestFlags flags) {
    IoStatus status;
    if (node.flags().detect_zeroes != DetectZeroes::off && !flags.has(RequestFlag::compressed) &&
        all_zeroes(from)) {
        if (node.flags().detect_zeroes == DetectZeroes::unmap)
            flags = flags | RequestFlag::may_unmap;
        fire(co, node, DebugEvent::pwritev_zero);
        status = zero_blocks(co, node, offset, from.size(), flags);
    } else {
        fire(co, node, DebugEvent::pwritev);
        status = write_parts(co, node, offset, from, flags);
    }
    fire(co, node, DebugEvent::pwritev_done);
    end_change(node, offset, from.size(), status);
    return status;
}

IoStatus RequestLayer::write_zeroes(sim::Co& co, Node& node, TrackedRequest& tracked,
                                    RequestFlags flags) {
    const std::uint64_t align = node.limits().request_alignment;
    const std::uint64_t begin = tracked.offset(), end = begin + tracked.length();
    if (begin % align != 0 || end % align != 0 || flags.has(RequestFlag::serialising)) {
        if (!tracked.make_serialising(co, align, !flags.has(RequestFlag::no_wait)))
            return Unexpected(Errno::busy);
    } else {
        tracked.wait_for_serialising(co);
    }
    flags = flags.without(RequestFlag::serialising | RequestFlag::no_wait);

    const std::uint64_t first = begin + (align - begin % align) % align, last = end - end % align;
    const auto write_all = [&](sim::Co& inner) -> IoStatus {
        if (begin % align != 0)
            TRY(zero_in_block(inner, node, begin, std::min(first, end) - begin, flags));
        if (first < last) {
            fire(inner, node, DebugEvent::pwritev_zero);
            TRY(zero_blocks(inner, node, first, last - first, flags));
            fire(inner, node, DebugEvent::pwritev_done);
        }
        if (end % align != 0 && last >= first)
            TRY(zero_in_block(inner, node, last, end - last, flags));
        return {};
    };
    const IoStatus status = write_all(co);
    end_change(node, begin, tracked.length(), status);
    return status;
}

IoStatus RequestLayer::zero_in_block(sim::Co& co, Node& node, std::uint64_t offset,
                                     std::uint64_t length, RequestFlags flags) {
    TRY(memory_for(node, "zeroes"));
    std::vector<std::byte> zeroes(length);
    const PaddedView padded(offset, sim::IoView(std::span(zeroes)),
                            node.limits().request_alignment);
    TRY(complete_blocks(co, node, padded));
    fire(co, node, DebugEvent::pwritev);
    TRY(write_parts(co, node, padded.offset(), padded.view(),
                    flags.without(RequestFlag::may_unmap | RequestFlag::no_fallback)));
    fire(co, node, DebugEvent::pwritev_done);
    return {};
}

IoStatus RequestLayer::discard(sim::Co& co, Node& node, TrackedRequest& tracked) {
    tracked.wait_for_serialising(co);
    const std::uint64_t align = node.limits().request_alignment;
    const std::uint64_t begin = tracked.offset(), end = begin + tracked.length();
    // Discards are advice: what is less than a block stays. The node's end counts as a whole one.
    const std::uint64_t first = begin + (align - begin % align) % align;
    const std::uint64_t last =
        end == node.length() ? end + (align - end % align) % align : end - end % align;
    IoStatus status;
    if (first < last) status = discard_blocks(co, node, first, last - first);
    end_change(node, begin, tracked.length(), status);
    return status;
}

}  // namespace blocklayer
