// SPDX-License-Identifier: Apache-2.0
#include "blocklayer/graph/node.hpp"

#include <algorithm>

#include "blocklayer/graph/backend.hpp"
#include "blocklayer/graph/dirty_bitmap.hpp"
#include "blocklayer/graph/drain.hpp"
#include "blocklayer/layer.hpp"
#include "sim/mutant.hpp"

namespace blocklayer {

Node::Node(BlockLayer& layer, std::string name, const DriverSpec& spec)
    : EdgeParent(this),
      layer_(layer),
      name_(std::move(name)),
      spec_(&spec),
      thread_(&layer.world().main_thread()),
      subject_(layer.world().trace().subject(name_)),
      id_(layer.next_node_id_++) {}

Node::~Node() = default;

Edge* Node::child(std::string_view edge_name) const {
    for (Edge* edge : children_)
        if (edge->name() == edge_name) return edge;
    return nullptr;
}

Edge* Node::cow_child() const {
    for (Edge* edge : children_)
        if (edge->role().has(Role::cow)) return edge;
    return nullptr;
}

Edge* Node::filtered_child() const {
    for (Edge* edge : children_)
        if (edge->role().has(Role::filtered)) return edge;
    return nullptr;
}

Edge* Node::primary_child() const {
    for (Edge* edge : children_)
        if (edge->role().has(Role::primary)) return edge;
    return nullptr;
}

Node* without_implicit(Node* node) {
    while (node->implicit() && node->filtered_child() != nullptr)
        node = &node->filtered_child()->child();
    return node;
}

Claim Node::cumulative() const {
    Claim claim;
    for (const Edge* user : parents_) {
        claim.used = claim.used | user->claim().used;
        claim.shared = claim.shared & user->claim().shared;
    }
    return claim;
}

std::string Node::describe_2_9() const {
    for (const Edge* user : parents_)
        if (const BlockBackend* backend = user->parent().as_backend();
            backend != nullptr && !backend->name().empty())
            return backend->name();
    return name_;
}

void Node::drained_begin(Edge&) { Drain::enter(*this); }

void Node::drained_end(Edge&) { Drain::leave(*this); }

bool Node::busy(const Edge&) const { return Drain::busy(*this); }

// What a node's length follows from its children, all the way up.
void Node::child_resized(Edge& edge) {
    std::vector<Edge*> changed{&edge};
    while (!changed.empty()) {
        Edge* below = changed.back();
        changed.pop_back();
        Node* node = below->parent().as_node();
        if (node == nullptr) {
            below->parent().child_resized(*below);
            continue;
        }
        if (!node->opened_) continue;
        const auto length = node->driver().length_with_child(*below);
        if (!length || whole_sectors(*length) == node->length_) continue;
        node->length_ = whole_sectors(*length);
        for (const auto& bitmap : node->dirty_bitmaps_) bitmap->resize(node->length_);
        changed.insert(changed.end(), node->parents_.rbegin(), node->parents_.rend());
    }
}

void Node::disinherit(Node& child) const {
    const auto is_to_it = [&](const Edge* edge) { return &edge->child() == &child; };
    if (child.inherits_from_ == id_ && std::none_of(children_.begin(), children_.end(), is_to_it))
        child.inherits_from_ = 0;
}

void Node::became_idle() {
    if (!sim::mutant<"drain: nobody is told of the end">()) Drain::kick(layer_);
}

void NodeRef::release() { node_->layer_.release(*node_); }

}  // namespace blocklayer
