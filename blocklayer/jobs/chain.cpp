// SPDX-License-Identifier: Apache-2.0
#include "blocklayer/jobs/chain.hpp"

#include <algorithm>

#include "blocklayer/requests/request.hpp"

namespace blocklayer {

Node* below(const Node& node) {
    // raw shows its file as it is, but is a format: the chain ends there.
    const Edge* edge = node.is_filter() ? node.filtered_child() : nullptr;
    if (edge == nullptr) edge = node.cow_child();
    return edge != nullptr ? &edge->child() : nullptr;
}

Node* without_filters(Node* node) {
    while (node != nullptr && node->is_filter() && node->filtered_child() != nullptr)
        node = &node->filtered_child()->child();
    return node;
}

Node* overlay_of(Node& top, const Node& bottom) {
    for (Node* node = &top; node != nullptr; node = below(*node))
        if (below(*node) == &bottom) return node;
    return nullptr;
}

bool chain_contains(Node& top, const Node& node) {
    for (Node* one = &top; one != nullptr; one = below(*one))
        if (one == &node) return true;
    return false;
}

IoResult<ChainStatus> status_above(sim::Co& co, Node& top, const Node* base, std::uint64_t offset,
                                   std::uint64_t length) {
    ChainStatus found{.length = length};
    NodeRef node(&top);
    while (node.get() != base) {
        if (node->is_filter() && node->filtered_child() != nullptr) {
            node = NodeRef(&node->filtered_child()->child());
            continue;
        }
        const BlockStatus status =
            TRY(RequestLayer::block_status(co, *node, offset, found.length));
        found.length = std::min(found.length, status.length);
        if (status.allocated) {
            found.data = status.data;
            found.zero = status.zero;
            found.allocated = true;
            return found;
        }
        Node* next = below(*node);
        // Past the end of a shorter image its overlay reads as zeroes, whatever lies deeper.
        const bool past_end = next != nullptr && offset >= next->length();
        if (next == nullptr || past_end) {
            found.zero = true;
            found.allocated = past_end && next != base;
            return found;
        }
        if (next != base) found.length = std::min(found.length, next->length() - offset);
        node = NodeRef(next);
    }
    return found;
}

}  // namespace blocklayer
