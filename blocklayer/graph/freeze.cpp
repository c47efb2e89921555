// SPDX-License-Identifier: Apache-2.0
// Frozen edges: a job or a filter relies on a chain and nobody may take it apart meanwhile.
#include "blocklayer/graph/graph.hpp"
#include "blocklayer/graph/node.hpp"

namespace blocklayer {
namespace {

// The next edge on the way down a chain of filters and overlays.
Edge* chain_edge(const Node& node) {
    // raw shows its file as it is, but is a format.
    Edge* edge = node.is_filter() ? node.filtered_child() : nullptr;
    return edge != nullptr ? edge : node.cow_child();
}

}  // namespace

Status Graph::freeze_chain(Node& top, Node* base) {
    for (Node* node = &top; node != base;) {
        Edge* edge = chain_edge(*node);
        if (edge == nullptr) break;
        if (edge->frozen_)
            return refuse_frozen(fmt::format("Cannot change '{}' link from '{}' to '{}'",
                                             edge->name_, node->name(), edge->child().name()),
                                 *edge);
        if (edge->child().never_freeze_)
            return failure(
                fmt::format("Cannot freeze '{}' link to '{}'", edge->name_, edge->child().name()),
                Errno::perm);
        node = &edge->child();
    }
    for (Node* node = &top; node != base;) {
        Edge* edge = chain_edge(*node);
        if (edge == nullptr) break;
        edge->frozen_ = true;
        edge->frozen_by_ = top.describe();
        node = &edge->child();
    }
    return {};
}

void Graph::unfreeze_chain(Node& top, Node* base) {
    for (Node* node = &top; node != base;) {
        Edge* edge = chain_edge(*node);
        if (edge == nullptr) break;
        INVARIANT(edge->frozen_);
        edge->frozen_ = false;
        node = &edge->child();
    }
}

void Graph::set_frozen(Edge& edge, bool frozen) { edge.frozen_ = frozen; }

void Graph::set_never_freeze(Node& node) { node.never_freeze_ = true; }

}  // namespace blocklayer
