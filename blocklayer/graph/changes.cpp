// SPDX-License-Identifier: Apache-2.0
// The changes that commands and jobs ask for, one transaction each.
#include <algorithm>

#include "blocklayer/graph/graph.hpp"
#include "blocklayer/graph/node.hpp"
#include "blocklayer/layer.hpp"

namespace blocklayer {
namespace {

// Who comes to look at a node and goes again before anything happens.
class Visitor final : public EdgeParent {
public:
    std::string describe() const override { return "an unnamed block device"; }
    std::string describe_2_9() const override { return "a block device"; }
    void drained_begin(Edge&) override {}
    void drained_end(Edge&) override {}
    bool busy(const Edge&) const override { return false; }
};

}  // namespace

Status Graph::judge(Transaction& tx, std::initializer_list<Node*> nodes) {
    return refresh(tx, std::span<Node* const>(nodes.begin(), nodes.size()));
}

Status Graph::finish(Transaction& tx, Status status) {
    if (status)
        tx.commit();
    else
        tx.abort();
    after_change();
    return status;
}

Result<Edge*> Graph::attach_root(EdgeParent& parent, Node& child, std::string name,
                                 EdgeClass edge_class, Claim claim) {
    EXPECTS(parent.as_node() == nullptr && edge_class != EdgeClass::node);
    Transaction tx;
    const RoleSet role = edge_class == EdgeClass::root ? role_filtered : RoleSet();
    Edge* edge = TRY(attach(tx, parent, child, std::move(name), edge_class, role, claim));
    TRY(finish(tx, judge(tx, {&child})));
    return edge;
}

Result<Edge*> Graph::attach_child(Node& parent, Node& child, std::string name, RoleSet role) {
    Transaction tx;
    Claim claim = parent.driver().child_claim(nullptr, role, parent.cumulative_, parent.writable());
    if (child.flags().force_share) claim.shared = PermSet::all();
    Edge* edge = TRY(attach(tx, parent, child, std::move(name), EdgeClass::node, role, claim));
    TRY(finish(tx, judge(tx, {&parent})));
    return edge;
}

Status Graph::visit(Node& node) {
    Visitor visitor;
    detach(*TRY(attach_root(visitor, node, "root", EdgeClass::root, Claim())));
    return {};
}

void Graph::detach(Edge& edge) {
    Node& child = edge.child();
    const NodeRef alive(&child);
    {
        Transaction tx;
        detach(tx, edge);
        tx.commit();
    }
    Transaction tx;
    Status status = judge(tx, {&child});
    // Fewer users never conflict. Where a driver or the alignment rule refuses all the same, the
    // nodes below keep the stricter permissions they have.
    if (!status) set_stale(child, true);
    (void)finish(tx, std::move(status));
}

Status Graph::set_claim(Edge& edge, Claim claim) {
    EXPECTS(edge.parent().as_node() == nullptr);
    const Claim old = edge.claim();
    const bool loosens = old.used.contains(claim.used) && claim.shared.contains(old.shared);
    Transaction tx;
    set_claim(tx, edge, claim);
    Status status = finish(tx, judge(tx, {&edge.child()}));
    if (!status && loosens) return {};
    return status;
}

Status Graph::replace_node(Node& from, Node& to, Strict strict) {
    EXPECTS(&from != &to);
    const NodeRef keep_from(&from), keep_to(&to);
    Transaction tx;
    TRY(replace_parents(tx, from, to, strict));
    return finish(tx, judge(tx, {&to, &from}));
}

Status Graph::append(Node& top, Node& bottom, std::string edge_name, RoleSet role) {
    const NodeRef keep_top(&top), keep_bottom(&bottom);
    Transaction tx;
    return finish(tx, append(tx, top, bottom, std::move(edge_name), role));
}

Status Graph::append(Transaction& tx, Node& top, Node& bottom, std::string edge_name,
                     RoleSet role) {
    EXPECTS(top.child(edge_name) == nullptr);
    Claim claim = top.driver().child_claim(nullptr, role, top.cumulative_, top.writable());
    if (bottom.flags().force_share) claim.shared = PermSet::all();
    TRY(attach(tx, top, bottom, std::move(edge_name), EdgeClass::node, role, claim));
    TRY(replace_parents(tx, bottom, top, Strict::no));
    return judge(tx, {&top});
}

Status Graph::drop_filter(Node& filter) {
    Edge* edge = filter.filtered_child();
    EXPECTS(edge != nullptr);
    Node& child = edge->child();
    const NodeRef keep_filter(&filter), keep_child(&child);
    Transaction tx;
    if (edge->frozen())
        return refuse_frozen(
            fmt::format("Cannot change '{}' link to '{}'", edge->name(), child.name()), *edge);
    detach(tx, *edge);
    TRY(replace_parents(tx, filter, child, Strict::no));
    return finish(tx, judge(tx, {&child, &filter}));
}

Status Graph::set_child(Node& parent, std::string edge_name, RoleSet role, Node* child) {
    Transaction tx;
    Edge* edge = parent.child(edge_name);
    Node* old = edge != nullptr ? &edge->child() : nullptr;
    if (old == child) return {};
    const NodeRef keep_old(old);
    TRY(set_child(tx, parent, std::move(edge_name), role, child));
    Status judged = judge(tx, {&parent});
    // Only the parent is looked at: below the child it had all stays as strict as it was, until an
    // update comes by.
    if (judged && old != nullptr) set_stale(*old, true);
    return finish(tx, std::move(judged));
}

Status Graph::set_child(Transaction& tx, Node& parent, std::string edge_name, RoleSet role,
                        Node* child) {
    if (Edge* edge = parent.child(edge_name)) {
        if (&edge->child() == child) return {};
        if (edge->frozen())
            return refuse_frozen(
                fmt::format("Cannot change frozen '{}' link from '{}' to '{}'", edge_name,
                            parent.name(), edge->child().name()),
                *edge);
        if (child != nullptr && reaches(*child, parent))
            return failure(fmt::format("Making '{}' a {} child of '{}' would create a cycle",
                                       child->name(), edge_name, parent.name()));
        tx.on_commit([&parent, old = NodeRef(&edge->child())] { parent.disinherit(*old); });
        // The driver knows its child by this edge.
        if (child != nullptr)
            move(tx, *edge, *child);
        else
            detach(tx, *edge);
        return {};
    }
    if (child == nullptr) return {};
    Claim claim = parent.driver().child_claim(nullptr, role, parent.cumulative_, parent.writable());
    if (child->flags().force_share) claim.shared = PermSet::all();
    TRY(attach(tx, parent, *child, std::move(edge_name), EdgeClass::node, role, claim));
    return {};
}

Status Graph::refresh(Node& node) {
    Transaction tx;
    return finish(tx, judge(tx, {&node}));
}

void Graph::set_stale(Node& node, bool stale) {
    if (std::exchange(node.stale_, stale) == stale) return;
    stale ? ++stale_nodes_ : --stale_nodes_;
}

void Graph::after_change() {
    if constexpr (BLOCKSTEP_MUTANTS == 0) return;
    if (layer_.world().closing()) return;  // what a run that failed leaves is taken apart
    // Of a large graph not every change: the check looks at all of it.
    if (++changes_unchecked_ * 64 < edges_.size()) return;
    changes_unchecked_ = 0;
    const std::string difference = check_whole();
    if (!difference.empty()) throw sim::AssertionFailure("graph: " + difference);
}

}  // namespace blocklayer
