// SPDX-License-Identifier: Apache-2.0
// Block status: where the data at an offset is, from what the driver says and what lies below.
#include "blocklayer/requests/request.hpp"

#include "blocklayer/layer.hpp"

namespace blocklayer {
namespace {

Edge* edge_to(const Node& node, const Node* child) {
    for (Edge* edge : node.children())
        if (&edge->child() == child) return edge;
    return nullptr;
}

// A raw mapping: everything is as the child says.
void adopt(BlockStatus& status, const BlockStatus& below) {
    status.length = std::min(status.length, below.length);
    status.data = below.data;
    status.zero = below.zero;
    status.allocated = below.allocated;
    status.compressed = below.compressed;
    status.file = below.file;
    status.offset = below.offset;
    status.eof = status.eof || below.eof;
}

}  // namespace

IoResult<BlockStatus> RequestLayer::block_status(sim::Co& co, Node& node, std::uint64_t offset,
                                                 std::uint64_t length) {
    EXPECTS(length > 0);
    if (stack_is_short(co)) return Unexpected(Errno::no_memory);
    if (offset >= node.length())
        return BlockStatus{.length = length, .zero = true, .allocated = true, .eof = true};
    length = std::min(length, node.length() - offset);

    const RequestScope scope(co, node);
    const std::uint64_t align = node.limits().request_alignment;
    const std::uint64_t begin = offset - offset % align;
    const std::uint64_t end = offset + length;
    const std::uint64_t padded_end = end % align == 0 ? end : end + (align - end % align);
    BlockStatus status = TRY(node.driver().block_status(co, begin, padded_end - begin));
    INVARIANT(status.length > offset - begin);
    status.length = std::min(status.length - (offset - begin), length);
    if (status.file != nullptr) status.offset += offset - begin;

    Edge* below = status.recurse ? edge_to(node, status.file) : nullptr;
    if (below != nullptr && !status.data) {
        adopt(status, TRY(below->block_status(co, status.offset, status.length)));
        status.recurse = false;
    } else {
        if (status.data || status.zero) {
            status.allocated = true;
        } else if (!status.allocated && node.spec().supports_backing) {
            const Edge* backing = node.cow_child();
            if (backing == nullptr || offset >= backing->child().length()) status.zero = true;
        }
        if (below != nullptr && !status.zero) {
            const IoResult<BlockStatus> there =
                below->block_status(co, status.offset, status.length);
            if (there && there->zero) {  // only a better answer: a failure changes nothing
                status.length = std::min(status.length, there->length);
                status.zero = true;
            }
        }
    }
    if (offset + status.length == node.length()) status.eof = true;
    return status;
}

}  // namespace blocklayer
