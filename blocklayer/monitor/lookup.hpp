// SPDX-License-Identifier: Apache-2.0
// How commands find the node or backend their arguments name, with the reference's error texts.
#pragma once
#include <string_view>

#include "blocklayer/errors.hpp"
#include "blocklayer/value.hpp"

namespace blocklayer {

class BlockBackend;
class BlockLayer;
class DirtyBitmap;
class Node;

// By backend name (its medium), then by node name.
// errors: "Cannot find device='x' nor node-name='y'"; "Device 'x' has no medium".
Result<Node*> lookup_node(BlockLayer& layer, std::string_view device, std::string_view node_name);
// By "node" and "name" in a command's arguments; a bitmap that nobody else is using at the moment.
// errors: "Node 'n' not found"; "Dirty bitmap 'x' not found"; "Bitmap 'x' is currently in use ..."
Result<DirtyBitmap*> lookup_idle_bitmap(BlockLayer& layer, const Value& arguments);

}  // namespace blocklayer
