// SPDX-License-Identifier: Apache-2.0
// How commands find the node or backend their arguments name, with the reference's error texts.
#pragma once
#include <string_view>

#include "blocklayer/errors.hpp"

namespace blocklayer {

class BlockBackend;
class BlockLayer;
class Node;

// By backend name (its medium), then by node name.
// errors: "Cannot find device='x' nor node-name='y'"; "Device 'x' has no medium".
Result<Node*> lookup_node(BlockLayer& layer, std::string_view device, std::string_view node_name);

}  // namespace blocklayer
