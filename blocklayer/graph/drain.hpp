// SPDX-License-Identifier: Apache-2.0
// Drained sections: between begin and end, no request is in flight on a node and none is sent.
//
// begin() tells the node's parents, upwards, to send nothing new, then waits until what they had
// begun is over: a nested event loop in which any other runnable event may run.
#pragma once
#include <vector>

#include "blocklayer/graph/node.hpp"
#include "sim/co.hpp"

namespace blocklayer {

class Drain {
public:
    // Only marks; for handlers that cannot wait. end() is still owed.
    static void quiesce(Node& node);
    static void begin(sim::Co& co, Node& node);
    static void end(Node& node);
    // Waits until the node and its parents are idle, without keeping it drained.
    static void wait_idle(sim::Co& co, Node& node);
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
