// SPDX-License-Identifier: Apache-2.0
// Copy on read: what the node does not hold itself is read from below and stored in it, in whole
// clusters. The caller's request is serialising, so no write can come between reading and storing.
#include "blocklayer/requests/debug_event.hpp"
#include "blocklayer/requests/memory.hpp"
#include "blocklayer/requests/request.hpp"

namespace blocklayer {
namespace {

constexpr std::uint64_t bounce_bytes_max = 1024 * 1024;

}  // namespace

IoStatus RequestLayer::copy_on_read(sim::Co& co, Node& node, std::uint64_t offset, sim::IoView into,
                                    RequestFlags flags) {
    const RequestFlags plain = flags.without(RequestFlag::copy_on_read | RequestFlag::prefetch);
    const bool prefetch = flags.has(RequestFlag::prefetch);
    const std::uint64_t align = node.limits().request_alignment;
    const std::uint64_t cluster = std::max(align, node.driver().info().cluster_size);
    const std::uint64_t node_end = node.length() + (align - node.length() % align) % align;
    std::vector<std::byte> bounce;

    for (std::uint64_t done = 0; done < into.size();) {
        const std::uint64_t at = offset + done;
        const BlockStatus status = TRY(block_status(co, node, at, into.size() - done));
        std::uint64_t part = std::min<std::uint64_t>(status.length, into.size() - done);
        // An answer that ends inside a block is about the node's end.
        part = std::min<std::uint64_t>(part + (align - part % align) % align, into.size() - done);
        if (status.allocated) {
            if (!prefetch) TRY(read_parts(co, node, at, into.sub(done, part), plain));
            done += part;
            continue;
        }
        const std::uint64_t begin = at - at % cluster;
        part = std::min(part, bounce_bytes_max - (at - begin) % bounce_bytes_max);
        const std::uint64_t end = std::min(node_end, (at + part + cluster - 1) / cluster * cluster);
        TRY(memory_for(node, "copy on read"));
        bounce.resize(end - begin);
        const sim::IoView copy{std::span(bounce)};
        TRY(read_parts(co, node, begin, copy, plain));
        fire(co, node, DebugEvent::cor_write);
        const RequestFlags unchanged = RequestFlag::write_unchanged;
        const IoStatus stored = all_zeroes(copy)
                                    ? zero_blocks(co, node, begin, copy.size(), unchanged)
                                    : write_parts(co, node, begin, copy, unchanged);
        ++node.write_generation;
        if (!stored) return stored;
        if (!prefetch) into.sub(done, part).copy_from(bounce.data() + (at - begin));
        done += part;
    }
    return {};
}

}  // namespace blocklayer
