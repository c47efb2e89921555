// SPDX-License-Identifier: Apache-2.0
// Reopen: new options for any number of live nodes, all or nothing.
#pragma once
#include <span>
#include <vector>

#include "blocklayer/errors.hpp"
#include "blocklayer/value.hpp"
#include "sim/co.hpp"

namespace blocklayer {

class BlockLayer;
class Node;

class Reopen {
public:
    // blockdev-reopen: options as blockdev-add takes them, each with its node-name.
    static Status reopen(sim::Co& co, BlockLayer& layer, std::span<const Value> options);
    // Jobs and commits switch a node (and the children that inherit from it) to read-write and
    // back, keeping all other options.
    static Status set_read_only(sim::Co& co, Node& node, bool read_only);

private:
    struct Queue;
};

}  // namespace blocklayer
