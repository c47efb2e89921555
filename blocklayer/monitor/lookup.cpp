// SPDX-License-Identifier: Apache-2.0
#include "blocklayer/monitor/lookup.hpp"

#include <fmt/format.h>

#include "blocklayer/layer.hpp"

namespace blocklayer {

Result<Node*> lookup_node(BlockLayer& layer, std::string_view device, std::string_view node_name) {
    if (!device.empty())
        if (const BlockBackend* backend = layer.find_backend(device)) {
            if (backend->has_medium()) return backend->node();
            return failure(fmt::format("Device '{}' has no medium", device));
        }
    if (!node_name.empty())
        if (Node* node = layer.find_node(node_name)) return node;
    return failure(fmt::format("Cannot find device='{}' nor node-name='{}'", device, node_name));
}

}  // namespace blocklayer
