// SPDX-License-Identifier: Apache-2.0
// Requests as they come through an edge. The plain case (aligned, inside the node, nobody to wait
// for) goes straight to the driver: a guest's read passes here once per node on its way down.
#include "blocklayer/requests/request.hpp"

#include "blocklayer/requests/debug_event.hpp"
#include "blocklayer/graph/dirty_bitmap.hpp"
#include "blocklayer/layer.hpp"
#include "sim/mutant.hpp"

namespace blocklayer {
namespace {

constexpr RequestFlags special_for_reads = RequestFlag::copy_on_read | RequestFlag::serialising;
constexpr RequestFlags special_for_writes = RequestFlag::fua | RequestFlag::serialising;

bool aligned(std::uint64_t offset, std::uint64_t length, const Limits& limits) {
    return ((offset | length) & (limits.request_alignment - 1)) == 0 &&
           (limits.max_transfer == 0 || length <= limits.max_transfer) && !limits.fires_events;
}

bool inside(std::uint64_t offset, std::uint64_t length, std::uint64_t node_length) {
    return length != 0 && length <= node_length && offset <= node_length - length;
}

bool in_range(std::uint64_t offset, std::uint64_t length) {
    return offset <= INT64_MAX && length <= INT64_MAX - offset;
}

}  // namespace

void Edge::fail_permission(const char* request, std::uint64_t offset, std::uint64_t length,
                           const char* needs) const {
    throw sim::AssertionFailure(fmt::format(
        "{} of {} bytes at {} by {} through its '{}' edge to node '{}' needs '{}', the edge has {}",
        request, length, offset, parent_.describe(), name_, child_->name(), needs,
        to_letters(claim_.used)));
}

IoStatus Edge::read(sim::Co& co, std::uint64_t offset, sim::IoView into, RequestFlags flags) {
    Node& node = *child_;
    const std::uint64_t length = into.size();
    if (!claim_.used.contains(Perm::consistent_read) && !flags.has(RequestFlag::inconsistent_ok))
        [[unlikely]]
        fail_permission("read", offset, length, "consistent read");
    if (flags.has(RequestFlag::copy_on_read)) [[unlikely]]  // stores what it reads
        require_write("copy on read", offset, length, RequestFlag::write_unchanged);
    if (!in_range(offset, length)) return Unexpected(Errno::io);

    const RequestScope scope(co, node);
    node.layer().world().emit("read", node.subject(), offset, length);
    TrackedRequest tracked(node.tracked(), offset, length, /*write=*/false);
    if (inside(offset, length, node.length()) && aligned(offset, length, node.limits()) &&
        (flags & special_for_reads).empty() && !node.tracked().any_serialising() &&
        !RequestLayer::stack_is_short(co)) [[likely]]
        return node.driver().read(co, offset, into, flags);
    return RequestLayer::read(co, node, tracked, into, flags);
}

// The parent is a filter that keeps its length when somebody else makes the child shorter; it wrote
// to its own end at most.
bool Edge::child_fell_short(std::uint64_t offset, std::uint64_t length) const {
    const Node* parent = parent_.as_node();
    return parent != nullptr && role_.has(Role::filtered) &&
           !claim_.used.contains(Perm::resize) && inside(offset, length, parent->length());
}

IoStatus Edge::write(sim::Co& co, std::uint64_t offset, sim::IoView from, RequestFlags flags) {
    Node& node = *child_;
    const std::uint64_t length = from.size();
    require_write("write", offset, length, flags);
    if (!in_range(offset, length)) return Unexpected(Errno::io);
    const bool is_inside = inside(offset, length, node.length());
    if (!is_inside && length > 0) {
        if (child_fell_short(offset, length)) return Unexpected(Errno::io);
        require_resize("write", offset, length);
    }
    if (node.read_only()) return Unexpected(Errno::perm);

    const RequestScope scope(co, node);
    node.layer().world().emit("write", node.subject(), offset, length);
    if (sim::mutant<"S05">()) RequestLayer::mark_dirty(node, offset, length);
    TrackedRequest tracked(node.tracked(), offset, length, /*write=*/true);
    if (is_inside && aligned(offset, length, node.limits()) &&
        (flags & special_for_writes).empty() &&
        (!node.tracked().any_serialising() ||
         sim::mutant<"requests: a plain write does not look for serialising ones">()) &&
        node.flags().detect_zeroes == DetectZeroes::off && !RequestLayer::stack_is_short(co))
        [[likely]] {
        const IoStatus status = node.driver().write(co, offset, from, flags);
        RequestLayer::end_change(node, offset, length, status);
        return status;
    }
    return RequestLayer::write(co, node, tracked, from, flags);
}

IoStatus Edge::write_zeroes(sim::Co& co, std::uint64_t offset, std::uint64_t length,
                            RequestFlags flags) {
    Node& node = *child_;
    require_write("write zeroes", offset, length, flags);
    if (!in_range(offset, length)) return Unexpected(Errno::io);
    if (!inside(offset, length, node.length()) && length > 0) {
        if (child_fell_short(offset, length)) return Unexpected(Errno::io);
        require_resize("write zeroes", offset, length);
    }
    if (node.read_only()) return Unexpected(Errno::perm);
    if (RequestLayer::stack_is_short(co)) return Unexpected(Errno::no_memory);
    if (length == 0) return {};
    // A device, command or job decides for the first node whether zeroes may be given back.
    if (class_ == EdgeClass::node && !node.flags().discard_unmap)
        flags = flags.without(RequestFlag::may_unmap);

    const RequestScope scope(co, node);
    node.layer().world().emit("write zeroes", node.subject(), offset, length);
    if (sim::mutant<"S05">()) RequestLayer::mark_dirty(node, offset, length);
    TrackedRequest tracked(node.tracked(), offset, length, /*write=*/true);
    return RequestLayer::write_zeroes(co, node, tracked, flags);
}

IoStatus Edge::discard(sim::Co& co, std::uint64_t offset, std::uint64_t length) {
    Node& node = *child_;
    require_write("discard", offset, length, {});
    if (!in_range(offset, length) || (length > 0 && !inside(offset, length, node.length())))
        return Unexpected(Errno::io);
    if (node.read_only()) return Unexpected(Errno::perm);
    if (RequestLayer::stack_is_short(co)) return Unexpected(Errno::no_memory);
    if (length == 0 || !node.flags().discard_unmap) return {};

    const RequestScope scope(co, node);
    node.layer().world().emit("discard", node.subject(), offset, length);
    if (sim::mutant<"S05">()) RequestLayer::mark_dirty(node, offset, length);
    TrackedRequest tracked(node.tracked(), offset, length, /*write=*/true);
    return RequestLayer::discard(co, node, tracked);
}

IoStatus Edge::flush(sim::Co& co) {
    // The end of the parent's own flush: its caches are written, now the child's.
    const Node* parent = parent_.as_node();
    if (role_.has(Role::primary) && parent != nullptr && parent->flushing_ &&
        parent->flushed_generation < parent->write_generation)
        fire(co, DebugEvent::flush_to_disk);
    return RequestLayer::flush(co, *child_);
}

void Edge::fire(sim::Co& co, DebugEvent event) { RequestLayer::fire(co, *child_, event); }

IoResult<BlockStatus> Edge::block_status(sim::Co& co, std::uint64_t offset, std::uint64_t length) {
    return RequestLayer::block_status(co, *child_, offset, length);
}

Status Edge::truncate(sim::Co& co, std::uint64_t size, bool exact, std::string_view preallocation,
                      RequestFlags flags) {
    require_resize("truncate", 0, size);
    return RequestLayer::truncate(co, *child_, size, exact, preallocation, flags);
}

IoStatus Edge::make_empty(sim::Co& co) {
    Node& node = *child_;
    require_write("make empty", 0, node.length(), RequestFlag::write_unchanged);
    const RequestScope scope(co, node);
    node.layer().world().emit("make empty", node.subject());
    const IoStatus status = node.driver().make_empty(co);
    ++node.write_generation;
    return status;
}

void RequestLayer::set_length(Node& node, std::uint64_t length) {
    length = whole_sectors(length);
    if (node.length_ == length) return;
    node.length_ = length;
    if (!sim::mutant<"bitmaps: a resize passes them by">())
        for (const auto& bitmap : node.dirty_bitmaps_) bitmap->resize(length);
    const std::vector<Edge*> users = node.parents_;
    for (Edge* user : users) {
        const Node* above = user->parent().as_node();
        node.layer().world().touch(above != nullptr ? above->place() : sim::Place());
        user->parent().child_resized(*user);
    }
}

void RequestLayer::end_change(Node& node, std::uint64_t offset, std::uint64_t length,
                              const IoStatus& status) {
    if (!sim::mutant<"requests: a write leaves nothing to flush">()) ++node.write_generation;
    const std::uint64_t end = offset + length;
    if (status) {
        node.highest_write_end = std::max(node.highest_write_end, end);
        if (end > node.length_) set_length(node, end);
    }
    if (!sim::mutant<"S05">()) mark_dirty(node, offset, length);
}

// A failed change may have changed something all the same.
void RequestLayer::mark_dirty(Node& node, std::uint64_t offset, std::uint64_t length) {
    if (sim::mutant<"requests: the end of a write is not marked dirty">())
        length = std::min<std::uint64_t>(length, 512);
    for (const auto& bitmap : node.dirty_bitmaps_)
        if (bitmap->enabled || sim::mutant<"bitmaps: disabled ones take note">())
            bitmap->set(offset, length);
}

}  // namespace blocklayer
