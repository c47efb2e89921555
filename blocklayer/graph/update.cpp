// SPDX-License-Identifier: Apache-2.0
// The permission update: which claims follow from the changes made so far, and does everybody
// agree.
//
// Nodes are visited parents before children, by rank, and a node whose users need and share what
// they did before is not descended into: the cost is that of the affected part. Which of several
// refusals is reported must be the reference's choice, whose order covers everything below the
// changed nodes; so only when there is a refusal, that walk is made as well.
#include <algorithm>
#include <queue>

#include "blocklayer/graph/graph.hpp"
#include "blocklayer/graph/node.hpp"
#include "blocklayer/layer.hpp"
#include "sim/few.hpp"
#include "sim/mutant.hpp"

namespace blocklayer {
namespace {

constexpr unsigned perm_bits = 4;

// Does some user need what another does not share? Time grows with the users, not with the pairs.
bool users_clash(const std::vector<Edge*>& users) {
    unsigned all_used = 0, all_unshared = 0;
    for (const Edge* user : users) {
        all_used |= user->claim().used.bits();
        all_unshared |= PermSet::all().without(user->claim().shared).bits();
    }
    if ((all_used & all_unshared) == 0) return false;
    // Some user may be the only one that needs it, and the only one that does not share it.
    std::uint32_t using_it[perm_bits] = {}, withholding[perm_bits] = {}, doing_both[perm_bits] = {};
    for (const Edge* user : users) {
        const unsigned used = user->claim().used.bits();
        const unsigned unshared = PermSet::all().without(user->claim().shared).bits();
        for (unsigned bit = 0; bit < perm_bits; ++bit) {
            using_it[bit] += used >> bit & 1;
            withholding[bit] += unshared >> bit & 1;
            doing_both[bit] += (used & unshared) >> bit & 1;
        }
    }
    for (unsigned bit = 0; bit < perm_bits; ++bit)
        if (std::uint64_t{using_it[bit]} * withholding[bit] > doing_both[bit]) return true;
    return false;
}

Unexpected<Error> refusal(std::string text, const Node& node, PermSet clash, const Edge& needs,
                          const Edge& withholds) {
    Error error{.text = std::move(text), .code = Errno::perm};
    error.refusal = std::make_shared<const Refusal>(Refusal{.node = node.name(),
                                                            .permissions = clash,
                                                            .requires_them = needs.party(),
                                                            .unshares_them = withholds.party()});
    return Unexpected(std::move(error));
}

// source  wording since 6.1; withholders newest first, for each of them users newest first.
Status explain_clash(const Node& node) {
    for (const Edge* withholds : node.parents()) {
        for (const Edge* needs : node.parents()) {
            const PermSet clash = needs->claim().used.without(withholds->claim().shared);
            if (needs == withholds || clash.empty()) continue;
            const auto who = [&](const Edge& edge) {
                return fmt::format("{} (uses node '{}' as '{}' child)", edge.parent().describe(),
                                   node.name(), edge.name());
            };
            return refusal(
                fmt::format("Permission conflict on node '{}': permissions '{}' are both required "
                            "by {} and unshared by {}.",
                            node.name(), to_words(clash), who(*needs), who(*withholds)),
                node, clash, *needs, *withholds);
        }
    }
    return {};
}

// source  wording of 2.9 to 6.0: a newcomer is judged against the users it finds, newest first.
Status explain_clash_2_9(const Node& node, const std::vector<const Edge*>& touched) {
    const auto judge = [&](const Edge& newcomer) -> Status {
        for (const Edge* user : node.parents()) {
            if (user == &newcomer) continue;
            const auto text = [&](const char* verb, PermSet clash) {
                return fmt::format("Conflicts with use by {} as '{}', which {} '{}' on {}",
                                   user->parent().describe_2_9(), user->name(), verb,
                                   to_words(clash), node.name());
            };
            if (const PermSet clash = newcomer.claim().used.without(user->claim().shared);
                !clash.empty())
                return refusal(text("does not allow", clash), node, clash, newcomer, *user);
            if (const PermSet clash = user->claim().used.without(newcomer.claim().shared);
                !clash.empty())
                return refusal(text("uses", clash), node, clash, *user, newcomer);
        }
        return {};
    };
    for (const Edge* edge : node.parents())
        if (std::find(touched.begin(), touched.end(), edge) != touched.end()) TRY(judge(*edge));
    for (const Edge* edge : node.parents()) TRY(judge(*edge));
    return {};
}

}  // namespace

struct Graph::Update {
    Update(Graph& in_graph, const WritableFn& in_writable_after)
        : graph(in_graph), writable_after(in_writable_after) {}

    Status run(std::span<Node* const> starts);
    void commit();
    void undo();

private:
    using Due = std::tuple<std::uint64_t, std::uint64_t, Node*>;  // rank, id, node
    enum class Descend : bool { where_changed, always };
    struct NodeState {
        Node* node;
        Claim cumulative;
        bool stale;
    };

    void enqueue(Node& node, bool forced);
    Status visit(Node& node, bool forced, Descend descend);
    std::vector<Node*> reference_order(std::span<Node* const> starts) const;
    std::vector<Node*> order_of_2_9(std::span<Node* const> starts) const;
    Status first_refusal(std::span<Node* const> starts);
    std::vector<Refusal> all_clashes(std::span<Node* const> starts);
    void put_back();

    Graph& graph;
    const WritableFn& writable_after;
    std::priority_queue<Due, sim::Few<Due>> queue;
    sim::Few<std::pair<Edge*, Claim>> old_claims;
    sim::Few<NodeState> old_nodes;
    sim::Few<Node*> prepared;
};

void Graph::Update::enqueue(Node& node, bool forced) {
    node.update_forced_ = node.update_forced_ || forced;
    if (std::exchange(node.update_pending_, true)) return;
    queue.emplace(sim::mutant<"S19">() ? 0 : node.rank_, node.id_, &node);
}

// Judges one node's users and gives its children the claims that follow.
Status Graph::Update::visit(Node& node, bool forced, Descend descend) {
    if (users_clash(node.parents())) {
        return graph.layer_.compat() == Compat::v2_9 ? explain_clash_2_9(node, graph.touched_)
                                                     : explain_clash(node);
    }
    const Claim claim = node.cumulative();
    const bool writable = writable_after ? writable_after(node) : node.writable();
    if (claim.used.intersects(Perm::write | Perm::write_unchanged)) {
        if (!writable) {
            if (!node.writable()) return failure("Block node is read-only", Errno::perm);
            return failure(fmt::format("Read-only block node '{}' cannot support read-write users",
                                       node.name()),
                           Errno::perm);
        }
        const std::uint32_t alignment = node.limits().request_alignment;
        if (!claim.used.contains(Perm::resize) && node.length() % alignment != 0)
            return failure(
                "Cannot get 'write' permission without 'resize': "
                "Image size is not a multiple of request alignment",
                Errno::perm);
    }

    const bool changed = claim != node.cumulative_ || node.stale_;
    // A new user may change what a driver asks for also where the sum stays the same.
    const auto is_new_user = [&](const Edge* edge) { return &edge->child() == &node; };
    if (!changed && !forced && descend == Descend::where_changed &&
        std::none_of(graph.touched_.begin(), graph.touched_.end(), is_new_user))
        return {};
    if (changed || forced) {
        if (std::exchange(node.claim_prepared_, false)) node.driver().abort_claim();
        TRY(node.driver().prepare_claim(claim, writable));
        node.claim_prepared_ = true;
        prepared.push_back(&node);
    }
    old_nodes.push_back({&node, node.cumulative_, node.stale_});
    node.cumulative_ = claim;
    graph.set_stale(node, false);
    for (Edge* edge : node.children()) {
        const Claim below = child_claim(*edge, claim, writable);
        if (below == edge->claim_) continue;
        old_claims.emplace_back(edge, edge->claim_);
        edge->claim_ = below;
        graph.touch(*edge);
        if (descend == Descend::where_changed &&
            !sim::mutant<"permissions: grandchildren are not updated">())
            enqueue(edge->child(), false);
    }
    return {};
}

Status Graph::Update::run(std::span<Node* const> starts) {
    for (Node* node : starts) enqueue(*node, true);
    for (const Edge* edge : graph.touched_) enqueue(edge->child(), false);
    // What is overdue below is made up for, although nothing there changes now.
    if (graph.stale_nodes_ > 0)
        for (Node* node : reference_order(starts))
            if (node->stale_) enqueue(*node, false);
    Status status;
    while (!queue.empty()) {
        Node& node = *std::get<Node*>(queue.top());
        queue.pop();
        node.update_pending_ = false;
        const bool forced = std::exchange(node.update_forced_, false);
        if (status) status = visit(node, forced, Descend::where_changed);
    }
    if (status) return status;
    put_back();
    Status first = first_refusal(starts);
    put_back();
    if (graph.on_refusal) {
        graph.on_refusal(all_clashes(starts));
        put_back();
    }
    return first ? std::move(status) : std::move(first);
}

// All nodes below the start nodes, each before what is below it. Depth first over children as
// listed, a node goes to the front when everything below it is there; later starts end up in front.
std::vector<Node*> Graph::Update::reference_order(std::span<Node* const> starts) const {
    const std::uint64_t mark = graph.next_mark();
    std::vector<Node*> finished;
    std::vector<std::pair<Node*, std::size_t>> path;  // node, next child
    const auto enter = [&](Node& node) {
        if (std::exchange(node.mark_, mark) != mark) path.emplace_back(&node, 0);
    };
    for (Node* start : starts) {
        enter(*start);
        while (!path.empty()) {
            auto& [node, next] = path.back();
            if (next < node->children().size()) {
                enter(node->children()[next++]->child());
            } else {
                finished.push_back(node);
                path.pop_back();
            }
        }
    }
    std::reverse(finished.begin(), finished.end());
    return finished;
}

// 2.9 judged a node, then each child with everything below it.
std::vector<Node*> Graph::Update::order_of_2_9(std::span<Node* const> starts) const {
    const std::uint64_t mark = graph.next_mark();
    std::vector<Node*> order, to_visit(starts.rbegin(), starts.rend());
    while (!to_visit.empty()) {
        Node* node = to_visit.back();
        to_visit.pop_back();
        if (std::exchange(node->mark_, mark) == mark) continue;
        order.push_back(node);
        const std::vector<Edge*>& children = node->children();
        for (auto edge = children.rbegin(); edge != children.rend(); ++edge)
            to_visit.push_back(&(*edge)->child());
    }
    return order;
}

// The refusal that the reference would report, everything undone afterwards by the caller.
Status Graph::Update::first_refusal(std::span<Node* const> starts) {
    const bool old_order = graph.layer_.compat() == Compat::v2_9;
    std::map<std::uint64_t, Status> refused;  // by node id
    for (Node* node : reference_order(starts)) {
        const bool forced = std::find(starts.begin(), starts.end(), node) != starts.end();
        Status status = visit(*node, forced, Descend::always);
        if (status) continue;
        if (!old_order) return status;
        refused.emplace(node->id_, std::move(status));
    }
    if (refused.empty()) return {};
    for (const Node* node : order_of_2_9(starts))
        if (const auto found = refused.find(node->id_); found != refused.end())
            return std::move(found->second);
    return {};
}

// Everybody who would stand in somebody's way, were the change made all the same.
std::vector<Refusal> Graph::Update::all_clashes(std::span<Node* const> starts) {
    std::vector<Refusal> clashes;
    for (Node* node : reference_order(starts)) {
        for (const Edge* withholds : node->parents())
            for (const Edge* needs : node->parents()) {
                const PermSet clash = needs->claim_.used.without(withholds->claim_.shared);
                if (needs != withholds && !clash.empty())
                    clashes.push_back({.node = node->name(),
                                       .permissions = clash,
                                       .requires_them = needs->party(),
                                       .unshares_them = withholds->party()});
            }
        const bool writable = writable_after ? writable_after(*node) : node->writable();
        const Claim claim = node->cumulative();
        for (Edge* edge : node->children()) {
            old_claims.emplace_back(edge, edge->claim_);
            edge->claim_ = child_claim(*edge, claim, writable);
        }
    }
    return clashes;
}

void Graph::Update::put_back() {
    for (auto node = prepared.rbegin(); node != prepared.rend(); ++node)
        if (std::exchange((*node)->claim_prepared_, false)) (*node)->driver().abort_claim();
    if (!sim::mutant<"permissions: a refusal keeps new claims">())
        for (auto claim = old_claims.rbegin(); claim != old_claims.rend(); ++claim)
            claim->first->claim_ = claim->second;
    for (auto state = old_nodes.rbegin(); state != old_nodes.rend(); ++state) {
        state->node->cumulative_ = state->cumulative;
        graph.set_stale(*state->node, state->stale);
    }
    prepared.clear();
    old_claims.clear();
    old_nodes.clear();
}

void Graph::Update::commit() {
    for (Node* node : prepared)
        if (std::exchange(node->claim_prepared_, false)) node->driver().commit_claim();
}

void Graph::Update::undo() { put_back(); }

Status Graph::refresh(Transaction& tx, std::span<Node* const> nodes) {
    return refresh(tx, nodes, nullptr);
}

Status Graph::refresh(Transaction& tx, std::span<Node* const> nodes,
                      const WritableFn& writable_after) {
    auto& update = tx.keep<Update>(*this, writable_after);
    Status status = update.run(nodes);
    touched_.clear();
    TRY(std::move(status));
    tx.on_abort([&update] { update.undo(); });
    tx.on_commit([&update] { update.commit(); });
    return {};
}

}  // namespace blocklayer
