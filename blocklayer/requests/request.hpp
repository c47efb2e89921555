// SPDX-License-Identifier: Apache-2.0
// The request layer: what happens to a request between the edge it comes through and the driver.
//
// In this order: permission (edge), range, counting and tracking, waiting for overlapping ones,
// alignment (read-modify-write), splitting by the driver's limits, the driver, and what a finished
// change leaves behind (dirty bitmaps, length, write generation, an emulated FUA).
//
// units  bytes
#pragma once
#include <cstdint>
#include <exception>
#include <vector>

#include "blocklayer/graph/drain.hpp"
#include "blocklayer/graph/node.hpp"
#include "blocklayer/requests/tracked.hpp"
#include "sim/co.hpp"
#include "sim/io_view.hpp"
#include "sim/world.hpp"

namespace blocklayer {

// One request is in its node, and counts there, for the length of a scope.
class RequestScope {
public:
    RequestScope(const sim::Co& co, Node& node)
        : within_(co, node.place()), node_(node), fiber_(co.fiber().id) {
        if (node.drained()) [[unlikely]]
            Drain::check_request(co, node);
        node.begin_request();
    }
    RequestScope(const RequestScope&) = delete;
    RequestScope& operator=(const RequestScope&) = delete;
    // Throws when it ended where it should not have been.
    ~RequestScope() noexcept(false) {
        node_.end_request();
        if (node_.drained() && std::uncaught_exceptions() == 0) [[unlikely]]
            Drain::check_request_end(node_, fiber_);
    }

private:
    const sim::World::Within within_;
    Node& node_;
    const std::uint64_t fiber_;
};

// A request with its first and last block completed: [head | the caller's bytes | tail], all of
// it one view. Blocks are of the node's request alignment.
class PaddedView {
public:
    PaddedView(std::uint64_t offset, sim::IoView inner, std::uint64_t align);
    PaddedView(const PaddedView&) = delete;
    PaddedView& operator=(const PaddedView&) = delete;

    std::uint64_t offset() const { return offset_; }
    std::uint64_t size() const { return view_.size(); }
    sim::IoView view() const { return view_; }
    // The padding is part of these blocks; one block when both are the same.
    sim::IoView first_block() const { return std::span(edges_).first(align_); }
    sim::IoView last_block() const { return std::span(edges_).last(align_); }
    bool head() const { return head_ > 0; }
    bool tail() const { return tail_ > 0; }
    bool one_block() const { return size() == align_; }

private:
    std::uint64_t align_, offset_;
    std::size_t head_, tail_;
    std::vector<std::byte> edges_;
    std::vector<sim::IoVec> segments_;
    sim::IoView view_;
};

class RequestLayer {
public:
    // What is not the plain case of Edge::read and Edge::write.
    static IoStatus read(sim::Co& co, Node& node, TrackedRequest& tracked, sim::IoView into,
                         RequestFlags flags);
    static IoStatus write(sim::Co& co, Node& node, TrackedRequest& tracked, sim::IoView from,
                          RequestFlags flags);
    static IoStatus write_zeroes(sim::Co& co, Node& node, TrackedRequest& tracked,
                                 RequestFlags flags);
    static IoStatus discard(sim::Co& co, Node& node, TrackedRequest& tracked);
    static IoStatus flush(sim::Co& co, Node& node);
    static IoResult<BlockStatus> block_status(sim::Co& co, Node& node, std::uint64_t offset,
                                              std::uint64_t length);
    static Status truncate(sim::Co& co, Node& node, std::uint64_t size, bool exact,
                           std::string_view preallocation, RequestFlags flags);

    // A write, zero or discard has ended, well or not.
    static void end_change(Node& node, std::uint64_t offset, std::uint64_t length,
                           const IoStatus& status);
    static void mark_dirty(Node& node, std::uint64_t offset, std::uint64_t length);
    static void set_length(Node& node, std::uint64_t length);
    static void fire(sim::Co& co, Node& node, DebugEvent event) {
        if (node.limits().fires_events) [[unlikely]]
            node.driver().debug_event(co, event);
    }
    static bool stack_is_short(const sim::Co& co) { return co.stack_left() < stack_reserve; }

private:
    // Deep graphs end in an error, not in a stack overflow: what one more layer may take.
    static constexpr std::size_t stack_reserve = 32 * 1024;

    static IoStatus read_blocks(sim::Co& co, Node& node, std::uint64_t offset, sim::IoView into,
                                RequestFlags flags);
    static IoStatus read_parts(sim::Co& co, Node& node, std::uint64_t offset, sim::IoView into,
                               RequestFlags flags);
    static IoStatus copy_on_read(sim::Co& co, Node& node, std::uint64_t offset, sim::IoView into,
                                 RequestFlags flags);
    static IoStatus write_blocks(sim::Co& co, Node& node, std::uint64_t offset, sim::IoView from,
                                 RequestFlags flags);
    static IoStatus write_parts(sim::Co& co, Node& node, std::uint64_t offset, sim::IoView from,
                                RequestFlags flags);
    static bool all_zeroes(sim::IoView view);
    static IoStatus complete_blocks(sim::Co& co, Node& node, const PaddedView& padded);
    static IoStatus zero_in_block(sim::Co& co, Node& node, std::uint64_t offset,
                                  std::uint64_t length, RequestFlags flags);
    static IoStatus zero_blocks(sim::Co& co, Node& node, std::uint64_t offset, std::uint64_t length,
                                RequestFlags flags);
    static IoStatus write_zero_buffers(sim::Co& co, Node& node, std::uint64_t offset,
                                       std::uint64_t length, RequestFlags flags);
    static IoStatus discard_blocks(sim::Co& co, Node& node, std::uint64_t offset,
                                   std::uint64_t length);
};

}  // namespace blocklayer
