// SPDX-License-Identifier: Apache-2.0
// What queries tell about a node: BlockDeviceInfo with its ImageInfo.
#pragma once
#include "blocklayer/value.hpp"
#include "sim/co.hpp"

namespace blocklayer {

class BlockBackend;
class Node;

enum class Chain : bool { no, yes };  // yes: with the images below, one inside the other

// backend: whose cache mode is shown, and whose user is not told of filters he did not name;
// nullptr: none.
Value block_device_info(Node& node, const BlockBackend* backend, Chain chain);

}  // namespace blocklayer
