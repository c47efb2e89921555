// SPDX-License-Identifier: Apache-2.0
// Graph: all nodes and edges, and every way to change them.
//
// The low-level changes take a Transaction, are made at once and judged together by refresh():
// permissions are recomputed parents first over what is affected, each node's users are compared
// pairwise, and the first refusal undoes everything. The high-level ones (attach, replace, append
// ...) are one transaction each. None of them suspends.
//
// invariant  after every commit the stored permissions equal a recomputation from scratch
// invariant  a failed change leaves no trace
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "blocklayer/errors.hpp"
#include "blocklayer/graph/edge.hpp"
#include "blocklayer/graph/transaction.hpp"

namespace blocklayer {

class BlockLayer;
class Node;

enum class Strict : bool { no, yes };  // yes: refuse where a job edge would have to stay behind

class Graph {
public:
    explicit Graph(BlockLayer& layer) : layer_(layer) {}

    // ---- changes, each one transaction -------------------------------------------------------
    // A backend's or job's edge. The claim is what it wants; refused with a conflict's text.
    Result<Edge*> attach_root(EdgeParent& parent, Node& child, std::string name,
                              EdgeClass edge_class, Claim claim);
    // A node's edge; its first permissions come from the parent's present users.
    Result<Edge*> attach_child(Node& parent, Node& child, std::string name, RoleSet role);
    void detach(Edge& edge);  // cannot fail; the edge is gone afterwards
    // Somebody comes to the node, who wants nothing of it and shares everything, and goes again.
    Status visit(Node& node);
    // Changes what a root or job edge wants. Loosening never fails.
    Status set_claim(Edge& edge, Claim claim);
    // Moves every movable parent edge of `from` to `to`.
    Status replace_node(Node& from, Node& to, Strict strict = Strict::no);
    // Puts `top` (which has no child of that name yet) above `bottom` through an edge
    // `edge_name`, and moves bottom's parents to it.
    Status append(Node& top, Node& bottom, std::string edge_name, RoleSet role);
    // The reverse for a filter: parents go to its child, its own edge is cut.
    Status drop_filter(Node& filter);
    // Gives the node another child of that role, or none (nullptr).
    Status set_child(Node& parent, std::string edge_name, RoleSet role, Node* child);
    void forget(Node& node) { set_stale(node, false); }  // it is closed
    // Recomputes below the node, e.g. after a filter changed what it asks for.
    Status refresh(Node& node);

    // ---- frozen edges: neither replaced nor removed -----------------------------------------
    // Freezes the chain of filter and backing edges from top down to base (base excluded).
    Status freeze_chain(Node& top, Node* base);
    void unfreeze_chain(Node& top, Node* base);
    void set_frozen(Edge& edge, bool frozen);
    void set_never_freeze(Node& node);

    // ---- building blocks --------------------------------------------------------------------
    Result<Edge*> attach(Transaction& tx, EdgeParent& parent, Node& child, std::string name,
                         EdgeClass edge_class, RoleSet role, Claim claim);
    void detach(Transaction& tx, Edge& edge);
    // The edge counts as the newest of its parent's and of `to`'s from now on.
    void move(Transaction& tx, Edge& edge, Node& to);
    void set_claim(Transaction& tx, Edge& edge, Claim claim);
    Status replace_parents(Transaction& tx, Node& from, Node& to, Strict strict);
    Status append(Transaction& tx, Node& top, Node& bottom, std::string edge_name, RoleSet role);
    Status set_child(Transaction& tx, Node& parent, std::string edge_name, RoleSet role,
                     Node* child);
    // Recomputes and checks everything that the changes so far touch below these nodes.
    Status refresh(Transaction& tx, std::span<Node* const> nodes);
    // As refresh, with pending read-only states of a reopen.
    using WritableFn = std::function<bool(const Node&)>;
    Status refresh(Transaction& tx, std::span<Node* const> nodes, const WritableFn& writable_after);

    // ---- questions ---------------------------------------------------------------------------
    // Is `below` reachable from `above` over child edges (or the same node)?
    bool reaches(const Node& above, const Node& below) const;
    // Every pair at every node, every claim recomputed: text of the first difference, or "".
    // Test builds do it after every change (less often while the graph is large).
    std::string check_whole() const;
    // All edges in a stable order, one line each with both permission sets.
    std::string dump() const;
    // Besides that, all else that a change may alter: blockers, counters, the order of children.
    std::string dump_whole() const;
    std::size_t edge_count() const { return edges_.size(); }
    // Called before a refused change is undone, with all clashes it would lead to: the graph is as
    // it was asked for. For explanations; may look, not touch.
    std::function<void(const std::vector<Refusal>& clashes)> on_refusal;

private:
    friend class Drain;
    struct Update;
    struct Place {  // where an edge was in the two lists
        std::size_t in_parents, in_children;
    };
    Place unlink(Edge& edge);
    void link(Edge& edge, Place place);
    void destroy(Edge& edge);  // unlinked before
    void block_backing(Edge& edge);
    void unblock_backing(Edge& edge);
    static void put_back_blockers(Transaction& tx, Edge& edge, Node& child);
    void touch(Edge& edge) { touched_.push_back(&edge); }
    void set_stale(Node& node, bool stale);
    Status judge(Transaction& tx, std::initializer_list<Node*> nodes);
    Status finish(Transaction& tx, Status status);
    void after_change();
    static Claim child_claim(const Edge& edge, const Claim& cumulative, bool writable);
    static void keep_above(Node& parent, Node& child);
    std::uint64_t next_mark() const { return ++mark_; }

    BlockLayer& layer_;
    std::vector<std::unique_ptr<Edge>> edges_;  // owner only; never walked where order matters
    std::vector<const Edge*> touched_;  // changed since the last refresh: the newcomers of 2.9
    std::size_t stale_nodes_ = 0;       // whose children's claims wait for the next update
    mutable std::uint64_t mark_ = 0;    // of the latest walk: nodes seen in it carry it
    std::uint64_t changes_unchecked_ = 0;
};

}  // namespace blocklayer
