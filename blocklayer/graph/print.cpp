// SPDX-License-Identifier: Apache-2.0
// The graph as text, and the check of everything that is kept in it.
#include <algorithm>

#include "blocklayer/graph/graph.hpp"
#include "blocklayer/graph/node.hpp"
#include "blocklayer/layer.hpp"

namespace blocklayer {
namespace {

std::string to_line(const Edge& edge) {
    return fmt::format("{} --{}--> {} {} / {}{}\n", edge.parent().describe(), edge.name(),
                       edge.child().name(), to_letters(edge.claim().used),
                       to_letters(edge.claim().shared), edge.frozen() ? " frozen" : "");
}

std::string to_text(const Claim& claim) {
    return to_letters(claim.used) + " / " + to_letters(claim.shared);
}

}  // namespace

std::string Graph::dump() const {
    std::string text;
    for (const Node* node : layer_.nodes())
        for (const Edge* edge : node->parents()) text += to_line(*edge);
    return text;
}

std::string Graph::dump_whole() const {
    std::string text;
    for (const Node* node : layer_.nodes()) {
        text += fmt::format("node {}: {}, {} bytes, {} references, {} + {} drains, {}{}{}\n",
                            node->name(), node->read_only() ? "ro" : "rw", node->length(),
                            node->references_, node->own_drains_, node->drains_,
                            to_text(node->cumulative_), node->stale_ ? ", stale" : "",
                            node->never_freeze_ ? ", never frozen" : "");
        for (const OpBlocker& blocker : node->op_blockers_)
            text += fmt::format("  blocks {:04x}: {}\n", blocker.operations, blocker.reason);
        for (const Edge* edge : node->children()) text += "  child " + edge->name() + "\n";
        for (const Edge* edge : node->parents())
            text += (edge->drained_ ? "  (drained) " : "  ") + to_line(*edge);
    }
    return text + fmt::format("{} edges\n", edges_.size());
}

std::string Graph::check_whole() const {
    std::size_t edges = 0;
    for (const Node* node : layer_.nodes()) {
        const Claim now = node->cumulative();
        if (now != node->cumulative_ && !node->stale_)
            return fmt::format("node '{}': users need {}, children were computed for {}",
                               node->name(), to_text(now), to_text(node->cumulative_));
        for (const Edge* user : node->parents()) {
            ++edges;
            if (&user->child() != node)
                return fmt::format("node '{}': lists an edge to another node", node->name());
            for (const Edge* other : node->parents())
                if (user != other && !other->claim().shared.contains(user->claim().used))
                    return "conflict: " + to_line(*user) + to_line(*other);
        }
        if (node->references_ < node->parents().size())
            return fmt::format("node '{}': fewer references than users", node->name());
        for (const Edge* edge : node->children()) {
            const std::vector<Edge*>& back = edge->child().parents();
            if (std::find(back.begin(), back.end(), edge) == back.end())
                return "not in its child's list: " + to_line(*edge);
            if (node->rank_ <= edge->child().rank_) return "ranks out of order: " + to_line(*edge);
            if (!node->opened_ || node->stale_) continue;
            const Claim claim = child_claim(*edge, node->cumulative_, node->writable());
            if (claim != edge->claim())
                return fmt::format("should be {}: {}", to_text(claim), to_line(*edge));
        }
    }
    if (edges != edges_.size())
        return fmt::format("{} edges in lists, {} in all", edges, edges_.size());
    return {};
}

}  // namespace blocklayer
