// SPDX-License-Identifier: Apache-2.0
#include "blocklayer/monitor/lookup.hpp"

#include <fmt/format.h>

#include "blocklayer/graph/dirty_bitmap.hpp"
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

Result<DirtyBitmap*> lookup_idle_bitmap(BlockLayer& layer, const Value& arguments) {
    const std::string& node_name = arguments.at("node").as_string();
    const std::string& name = arguments.at("name").as_string();
    Node* node = layer.find_device_or_node(node_name);
    if (node == nullptr) return failure(fmt::format("Node '{}' not found", node_name));
    for (const auto& bitmap : node->dirty_bitmaps()) {
        if (name.empty() || bitmap->name() != name) continue;  // those are jobs' own
        if (!bitmap->busy) return bitmap.get();
        return failure(fmt::format(
            "Bitmap '{}' is currently in use by another operation and cannot be used", name));
    }
    return failure(fmt::format("Dirty bitmap '{}' not found", name));
}

}  // namespace blocklayer
