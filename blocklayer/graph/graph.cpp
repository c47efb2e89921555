// SPDX-License-Identifier: Apache-2.0
// The building blocks: edges made, cut, moved and given other claims, each with its way back.
//
// invariant  a node's rank is above those of all its children
#include "blocklayer/graph/graph.hpp"

#include <algorithm>
#include <queue>

#include "blocklayer/graph/drain.hpp"
#include "blocklayer/graph/node.hpp"
#include "blocklayer/layer.hpp"
#include "sim/mutant.hpp"

namespace blocklayer {
namespace {

// Room between ranks, so that a node put between two others seldom moves anything above.
constexpr std::uint64_t rank_gap = std::uint64_t{1} << 32;

}  // namespace

Graph::Place Graph::unlink(Edge& edge) {
    const auto take = [&](std::vector<Edge*>& list) {
        const auto found = std::find(list.begin(), list.end(), &edge);
        INVARIANT(found != list.end());
        const auto at = static_cast<std::size_t>(found - list.begin());
        list.erase(found);
        return at;
    };
    Place place{take(edge.child_->parents_), 0};
    if (Node* parent = edge.parent_.as_node()) place.in_children = take(parent->children_);
    return place;
}

void Graph::link(Edge& edge, Place place) {
    const auto put = [&](std::vector<Edge*>& list, std::size_t at) {
        // Somebody else may have left the list since.
        list.insert(list.begin() + static_cast<std::ptrdiff_t>(std::min(at, list.size())), &edge);
    };
    put(edge.child_->parents_, place.in_parents);
    if (Node* parent = edge.parent_.as_node()) {
        put(parent->children_, place.in_children);
        keep_above(*parent, *edge.child_);
    }
}

void Graph::destroy(Edge& edge) {
    std::erase(touched_, &edge);
    const std::size_t at = edge.index_;
    NodeRef last_use(edge.child_);
    --edge.child_->references_;
    edges_.back()->index_ = at;
    std::swap(edges_[at], edges_.back());
    edges_.pop_back();
}

// A node used as backing file is closed to most commands (the older op blockers).
void Graph::block_backing(Edge& edge) {
    Node* parent = edge.parent_.as_node();
    if (parent == nullptr || !edge.role_.has(Role::cow)) return;
    std::string_view name = parent->name();
    for (const Edge* user : parent->parents())
        if (BlockBackend* backend = user->parent().as_backend();
            backend != nullptr && !backend->name().empty())
            name = backend->name();
    constexpr std::uint32_t allowed =
        op_commit_target | op_stream | op_backup_source | op_backup_target;
    edge.child_->op_blockers_.push_back(
        {.operations = op_all & ~allowed,
         .reason = fmt::format("node is used as backing hd of '{}'", name),
         .owner = &edge});
}

void Graph::unblock_backing(Edge& edge) {
    std::erase_if(edge.child_->op_blockers_,
                  [&](const OpBlocker& blocker) { return blocker.owner == &edge; });
}

// When the change is undone the node has the same blockers again, in their order.
void Graph::put_back_blockers(Transaction& tx, Edge& edge, Node& child) {
    if (std::none_of(child.op_blockers_.begin(), child.op_blockers_.end(),
                     [&](const OpBlocker& blocker) { return blocker.owner == &edge; }))
        return;
    tx.on_abort([&child, blockers = child.op_blockers_] { child.op_blockers_ = blockers; });
}

// The parent's rank must exceed the child's. First choice: the child moves down a little, if it
// has room above its own children; else the parent and what is above it move up, lowest first, so
// that each of them moves once.
void Graph::keep_above(Node& parent, Node& child) {
    if (parent.rank_ > child.rank_) return;
    std::uint64_t floor = 0;
    for (const Edge* edge : child.children_) floor = std::max(floor, edge->child().rank_);
    if (floor + 1 < parent.rank_) {
        child.rank_ = floor + (parent.rank_ - floor) / 2;
        return;
    }

    // By the rank they had when found: all that lies below a node is raised before the node is.
    using Found = std::tuple<std::uint64_t, std::uint64_t, Node*>;  // rank, id, node
    std::priority_queue<Found, std::vector<Found>, std::greater<>> to_raise;
    to_raise.emplace(parent.rank_, parent.id_, &parent);
    while (!to_raise.empty()) {
        Node& node = *std::get<Node*>(to_raise.top());
        to_raise.pop();
        std::uint64_t below = 0;
        for (const Edge* edge : node.children_) below = std::max(below, edge->child().rank_);
        if (node.rank_ > below) continue;
        for (const Edge* edge : node.parents_)
            if (Node* above = edge->parent().as_node();
                above != nullptr && above->rank_ <= below + rank_gap)
                to_raise.emplace(above->rank_, above->id_, above);
        node.rank_ = below + rank_gap;
    }
}

bool Graph::reaches(const Node& above, const Node& below) const {
    if (&above == &below) return true;
    if (below.parents_.empty()) return false;  // a new node, most often
    const std::uint64_t mark = next_mark();
    std::vector<const Node*> to_visit{&above};
    while (!to_visit.empty()) {
        const Node& node = *to_visit.back();
        to_visit.pop_back();
        for (const Edge* edge : node.children_) {
            const Node& child = edge->child();
            if (&child == &below) return true;
            if (child.rank_ <= below.rank_ || child.mark_ == mark) continue;
            child.mark_ = mark;
            to_visit.push_back(&child);
        }
    }
    return false;
}

Claim Graph::child_claim(const Edge& edge, const Claim& cumulative, bool writable) {
    const Node& parent = *edge.parent_.as_node();
    Claim claim = parent.driver().child_claim(&edge, edge.role_, cumulative, writable);
    if (edge.child_->flags().force_share) claim.shared = PermSet::all();
    return claim;
}

Result<Edge*> Graph::attach(Transaction& tx, EdgeParent& parent, Node& child, std::string name,
                            EdgeClass edge_class, RoleSet role, Claim claim) {
    if (Node* node = parent.as_node()) {
        if (reaches(child, *node))
            return failure(fmt::format("Making '{}' a {} child of '{}' would create a cycle",
                                       child.name(), name, node->name()));
    }
    edges_.push_back(
        std::make_unique<Edge>(parent, child, std::move(name), edge_class, role, claim));
    Edge& edge = *edges_.back();
    edge.index_ = edges_.size() - 1;
    ++child.references_;
    link(edge, {0, 0});
    block_backing(edge);
    touch(edge);
    tx.on_abort([this, &edge] {
        unblock_backing(edge);
        unlink(edge);
        Drain::release(edge);
        destroy(edge);
    });
    Drain::sync(edge);
    if (Node* node = parent.as_node()) tx.on_commit([node, &edge] { node->child_resized(edge); });
    return &edge;
}

void Graph::detach(Transaction& tx, Edge& edge) {
    Node& child = *edge.child_;
    put_back_blockers(tx, edge, child);
    unblock_backing(edge);
    const Place place = unlink(edge);
    tx.on_abort([this, &edge, place] {
        if (sim::mutant<"graph: an undone detach puts the edge in front">())
            link(edge, {0, 0});
        else
            link(edge, place);
    });
    tx.on_commit([this, &edge] {
        Drain::release(edge);
        destroy(edge);
    });
}

void Graph::move(Transaction& tx, Edge& edge, Node& to) {
    Node& from = *edge.child_;
    put_back_blockers(tx, edge, from);
    unblock_backing(edge);
    const Place place = unlink(edge);
    edge.child_ = &to;
    ++to.references_;
    link(edge, {0, 0});
    block_backing(edge);
    touch(edge);
    tx.on_abort([this, &edge, &from, place] {
        NodeRef last_use(edge.child_);
        unblock_backing(edge);
        unlink(edge);
        --edge.child_->references_;
        edge.child_ = &from;
        link(edge, place);
        Drain::sync(edge);
    });
    // The parent goes on only when it is sure where: an end of its section waits for the commit.
    if (to.drained()) Drain::sync(edge);
    tx.on_commit([this, &edge, &from] {
        NodeRef last_use(&from);
        --from.references_;
        Drain::sync(edge);
        // What it shares depends on the child, too: the next update sees to it.
        Node* parent = edge.parent_.as_node();
        if (parent != nullptr && edge.child_->flags_.force_share != from.flags_.force_share)
            set_stale(*parent, true);
        edge.parent_.child_replaced(edge);
    });
}

void Graph::set_claim(Transaction& tx, Edge& edge, Claim claim) {
    tx.on_abort([&edge, old = edge.claim_] { edge.claim_ = old; });
    edge.claim_ = claim;
    touch(edge);
}

Status Graph::replace_parents(Transaction& tx, Node& from, Node& to, Strict strict) {
    const std::vector<Edge*> parents = from.parents_;
    std::vector<Edge*> movable;
    for (Edge* edge : parents) {
        const Node* parent = edge->parent_.as_node();
        // A parent that `to` stands on must go on looking at `from`, or the graph gets a cycle.
        if (edge->stays_at_node() || (parent != nullptr && reaches(to, *parent))) {
            if (strict == Strict::no) continue;
            return failure(
                fmt::format("Should not change '{}' link to '{}'", edge->name_, from.name()));
        }
        if (edge->frozen_)
            return refuse_frozen(
                fmt::format("Cannot change '{}' link to '{}'", edge->name_, from.name()), *edge);
        movable.push_back(edge);
    }
    for (Edge* edge : movable) move(tx, *edge, to);
    return {};
}

}  // namespace blocklayer
