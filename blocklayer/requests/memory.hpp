// SPDX-License-Identifier: Apache-2.0
// Memory that a request needs beyond its caller's: buffers between nodes, tables on their way.
#pragma once
#include <string_view>

#include "blocklayer/graph/node.hpp"
#include "sim/errno.hpp"

namespace blocklayer {

// Asked before each such allocation. Under LayerLimits::memory_may_fail it is a fault site of its
// own, "<node>: no memory for <purpose>". errors: no_memory
sim::IoStatus memory_for(const Node& node, std::string_view purpose);

}  // namespace blocklayer
