// SPDX-License-Identifier: Apache-2.0
// Drained sections: between begin and end, no request is in flight on a node and none is sent.
//
// begin() tells the node's parents, upwards, to send nothing new, then waits until what they had
// begun is over: a nested event loop in which any other runnable event may run.
#pragma once
#include <string>
#include <vector>

#include "blocklayer/graph/node.hpp"
#include "sim/co.hpp"

namespace blocklayer {

class BlockLayer;

// A drained section that has begun. From when it is complete, only the fiber that began it may send
// requests to the node or to what stands on it.
struct OpenSection {
    const Node* node;
    std::uint64_t fiber;
    bool complete;
};

class Drain {
public:
    // Only marks; for handlers that cannot wait. end() is still owed.
    static void quiesce(Node& node);
    static void begin(sim::Co& co, Node& node);
    static void end(Node& node);
    // Waits until the node and its parents are idle, without keeping it drained.
    static void wait_idle(sim::Co& co, Node& node);
    // The node is drained and has got a new parent, which may still have requests under way: waits
    // until they are over. Whoever attaches to a drained node owes this before relying on it.
    static void settle(sim::Co& co, Node& node);
    // Until something that sections wait for may have changed.
    static void wait_change(sim::Co& co, BlockLayer& layer);
    // A parent is no longer busy (its busy() may have become false): waiting sections look again.
    static void kick(BlockLayer& layer);
    // Is a request in flight on the node or on its way to it?
    static bool busy(const Node& node);
    // A request begins on a node that is drained, in this fiber: fails the run unless the section
    // is still waiting for such requests, or is the fiber's own.
    static void check_request(const sim::Co& co, const Node& node);
    // A request ends on a node that is drained: it must not have been under way since the section
    // was complete.
    static void check_request_end(const Node& node, std::uint64_t fiber);
    // All counters recomputed: text of the first difference, or "".
    static std::string check(const BlockLayer& layer);

private:
    friend class Node;
    friend class Graph;
    static void check_sections(const Node& node, std::uint64_t fiber, const char* what);
    static void enter(Node& node);
    static void leave(Node& node);
    static void sync(Edge& edge);     // after the edge or its child changed
    static void release(Edge& edge);  // the edge goes away: its parent may go on
};

// A drained section of several nodes for the length of a scope.
class [[nodiscard]] DrainedSection {
public:
    DrainedSection(sim::Co& co, Node& node) { add(co, node); }
    explicit DrainedSection(sim::Co& co, const std::vector<Node*>& nodes) {
        for (Node* node : nodes) add(co, *node);
    }
    DrainedSection(const DrainedSection&) = delete;
    DrainedSection& operator=(const DrainedSection&) = delete;
    ~DrainedSection() { end(); }
    void add(sim::Co& co, Node& node);
    void end();

private:
    std::vector<NodeRef> nodes_;
};

}  // namespace blocklayer
