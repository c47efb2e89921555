// SPDX-License-Identifier: Apache-2.0
// invariant  a node's drains_ is its own sections plus its drained children; an edge is drained
//            exactly when its child is
#include "blocklayer/graph/drain.hpp"

#include "blocklayer/layer.hpp"
#include "sim/few.hpp"
#include "sim/mutant.hpp"

namespace blocklayer {

// Node by node instead of by recursion: chains are long and stacks are not.
void Drain::enter(Node& first) {
    sim::Few<Node*> entered{&first};
    while (!entered.empty()) {
        Node& node = *entered.back();
        entered.pop_back();
        if (++node.drains_ > 1) continue;
        const sim::Few<Edge*> users(node.parents_.begin(), node.parents_.end());
        for (Edge* user : users) {
            if (std::exchange(user->drained_, true)) continue;
            if (Node* parent = user->parent().as_node())
                entered.push_back(parent);
            else
                user->parent().drained_begin(*user);
        }
        node.driver().drain_begin();
    }
}

void Drain::leave(Node& first) {
    sim::Few<Node*> left{&first};
    while (!left.empty()) {
        Node& node = *left.back();
        left.pop_back();
        INVARIANT(node.drains_ > 0);
        if (--node.drains_ > 0) continue;
        node.driver().drain_end();
        const sim::Few<Edge*> users(node.parents_.begin(), node.parents_.end());
        for (Edge* user : users) {
            if (!std::exchange(user->drained_, false)) continue;
            if (Node* parent = user->parent().as_node())
                left.push_back(parent);
            else
                user->parent().drained_end(*user);
        }
    }
}

void Drain::sync(Edge& edge) {
    if (edge.child().drained() == edge.drained_) return;
    if (sim::mutant<"drain: a moved edge keeps its state">()) return;
    edge.drained_ = !edge.drained_;
    if (edge.drained_)
        edge.parent().drained_begin(edge);
    else
        edge.parent().drained_end(edge);
}

void Drain::release(Edge& edge) {
    if (std::exchange(edge.drained_, false) &&
        !sim::mutant<"drain: a parent that leaves stays quiet">())
        edge.parent().drained_end(edge);
}

void Drain::quiesce(Node& node) {
    ++node.own_drains_;
    enter(node);
}

void Drain::begin(sim::Co& co, Node& node) {
    const NodeRef alive(&node);
    node.layer().world().emit("drained section begins", node.subject());
    quiesce(node);
    auto& sections = node.layer().drained_sections_;
    sections.push_back({&node, co.fiber().id, false});
    settle(co, node);
    const auto own = std::find_if(sections.begin(), sections.end(), [&](const auto& section) {
        return section.node == &node && section.fiber == co.fiber().id && !section.complete;
    });
    if (own != sections.end()) own->complete = true;
}

void Drain::check_sections(const Node& node, std::uint64_t fiber, const char* what) {
    if (!node.layer().options_.check_drains) return;
    const auto covers = [&](const OpenSection& section) {
        return node.layer().graph().reaches(node, *section.node);
    };
    for (const OpenSection& section : node.layer().drained_sections_) {
        if (!section.complete || section.fiber == fiber || !covers(section)) continue;
        // A command may drain once more what a job keeps drained, and flushes it then; a node that
        // is closed flushes what is below it.
        const auto flushes = [&](const OpenSection& own) {
            return own.complete && own.fiber == fiber &&
                   (covers(own) || (own.node->parents().empty() &&
                                    node.layer().graph().reaches(*own.node, node)));
        };
        // Nor does a job that keeps it drained keep a command from opening a node above.
        const auto opens = [&](const std::unique_ptr<Node>& above) {
            return !above->opened_ && node.layer().graph().reaches(*above, node);
        };
        const auto& sections = node.layer().drained_sections_;
        const auto& nodes = node.layer().nodes_;
        if (std::any_of(sections.begin(), sections.end(), flushes) ||
            std::any_of(nodes.begin(), nodes.end(), opens))
            return;
        throw sim::AssertionFailure(
            fmt::format("a request {} on node '{}' although node '{}' is drained", what,
                        node.name(), section.node->name()));
    }
}

void Drain::check_request(const sim::Co& co, const Node& node) {
    check_sections(node, co.fiber().id, "begins");
}

void Drain::check_request_end(const Node& node, std::uint64_t fiber) {
    check_sections(node, fiber, "ends");
}

void Drain::end(Node& node) {
    INVARIANT(node.own_drains_ > 0);
    --node.own_drains_;
    auto& sections = node.layer().drained_sections_;
    const auto last = std::find_if(sections.rbegin(), sections.rend(),
                                   [&](const auto& section) { return section.node == &node; });
    if (last != sections.rend()) sections.erase(std::next(last).base());
    node.layer().world().emit("drained section ends", node.subject());
    leave(node);
}

void Drain::wait_idle(sim::Co& co, Node& node) {
    const NodeRef alive(&node);
    begin(co, node);
    end(node);
}

void Drain::settle(sim::Co& co, Node& node) {
    const NodeRef alive(&node);
    if (sim::mutant<"drain: does not wait">() || !busy(node)) return;
    // Sections of the node that were complete are not while a newcomer's requests are under way.
    std::vector<OpenSection>& sections = node.layer().drained_sections_;
    std::vector<std::uint64_t> reopened;  // fibers
    for (OpenSection& section : sections)
        if (section.node == &node && std::exchange(section.complete, false))
            reopened.push_back(section.fiber);
    while (busy(node)) node.layer().drain_waiters_.wait(co);
    for (OpenSection& section : sections)
        if (section.node == &node &&
            std::find(reopened.begin(), reopened.end(), section.fiber) != reopened.end())
            section.complete = true;
}

void Drain::wait_change(sim::Co& co, BlockLayer& layer) { layer.drain_waiters_.wait(co); }

void Drain::kick(BlockLayer& layer) {
    static constexpr sim::Place waiters = sim::Place::named("waiters for drained sections", "");
    layer.world().touch(waiters,
                        layer.drain_waiters_.empty() ? sim::Access::read : sim::Access::write);
    layer.drain_waiters_.wake_all();
}

bool Drain::busy(const Node& first) {
    const std::uint64_t mark = first.layer().graph().next_mark();
    sim::Few<const Node*> to_visit{&first};
    while (!to_visit.empty()) {
        const Node& node = *to_visit.back();
        to_visit.pop_back();
        if (std::exchange(node.mark_, mark) == mark) continue;
        if (node.in_flight_ > 0) return true;
        for (const Edge* user : node.parents_) {
            if (const Node* parent = user->parent().as_node())
                to_visit.push_back(parent);
            else if (user->parent().busy(*user))
                return true;
        }
    }
    return false;
}

std::string Drain::check(const BlockLayer& layer) {
    for (const Node* node : layer.nodes()) {
        int drains = node->own_drains_;
        for (const Edge* edge : node->children()) drains += edge->child().drained() ? 1 : 0;
        if (drains != node->drains_)
            return fmt::format("node '{}': {} drained sections counted, {} kept", node->name(),
                               drains, node->drains_);
        for (const Edge* user : node->parents())
            if (user->drained_ != node->drained())
                return fmt::format("{}: {} of the drained section of node '{}'",
                                   user->parent().describe(),
                                   user->drained_ ? "still in" : "does not know", node->name());
    }
    return {};
}

void DrainedSection::add(sim::Co& co, Node& node) {
    nodes_.emplace_back(&node);
    Drain::begin(co, node);
}

void DrainedSection::end() {
    for (const NodeRef& node : std::exchange(nodes_, {})) Drain::end(*node);
}

}  // namespace blocklayer
