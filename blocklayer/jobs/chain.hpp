// SPDX-License-Identifier: Apache-2.0
// Backing chains as jobs look at them: who is below whom, and which image decides the contents.
#pragma once
#include <cstdint>

#include "blocklayer/errors.hpp"
#include "blocklayer/graph/node.hpp"
#include "sim/co.hpp"

namespace blocklayer {

// The next node down the chain: what a filter shows, or an overlay's backing image; else nullptr.
Node* below(const Node& node);
// The node itself, or what it shows if it is a filter, and so on; nullptr stays nullptr.
Node* without_filters(Node* node);
// The node right above `bottom` in the chain that starts at `top`; nullptr: bottom is not below.
Node* overlay_of(Node& top, const Node& bottom);
bool chain_contains(Node& top, const Node& node);

struct ChainStatus {
    std::uint64_t length = 0;
    bool data = false, zero = false;
    bool allocated = false;  // by a node from top down to above base
};

// What decides the contents at an offset, looking from top down to, but not into, base (nullptr:
// the whole chain).
IoResult<ChainStatus> status_above(sim::Co& co, Node& top, const Node* base, std::uint64_t offset,
                                   std::uint64_t length);

}  // namespace blocklayer
