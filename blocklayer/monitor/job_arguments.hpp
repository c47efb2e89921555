// SPDX-License-Identifier: Apache-2.0
// What the commands that start jobs have in common.
#pragma once
#include <string>
#include <string_view>

#include "blocklayer/errors.hpp"
#include "blocklayer/jobs/job.hpp"
#include "blocklayer/value.hpp"

namespace blocklayer {

class BlockLayer;
class Node;

// job-id (by default the name of the backend on the node), auto-finalize, auto-dismiss.
JobOptions job_options(const Value& arguments, const Node& node);
// A node by backend or node name whose users are all backends.
// errors: Cannot find device= ...; Need a root block node
Result<Node*> lookup_root_node(BlockLayer& layer, std::string_view name);

// An image below `top` by a name for it: its own, or the one its overlay has for it; nullptr: none.
Node* find_backing_image(Node& top, const std::string& filename);

}  // namespace blocklayer
