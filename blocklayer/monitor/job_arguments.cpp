// SPDX-License-Identifier: Apache-2.0
#include "blocklayer/monitor/job_arguments.hpp"

#include <algorithm>

#include "blocklayer/jobs/chain.hpp"
#include "blocklayer/layer.hpp"
#include "blocklayer/graph/filename.hpp"
#include "blocklayer/monitor/lookup.hpp"

namespace blocklayer {

JobOptions job_options(const Value& arguments, const Node& node) {
    JobOptions options;
    for (const Edge* user : node.parents())
        if (const BlockBackend* backend = user->parent().as_backend();
            backend != nullptr && !backend->name().empty())
            options.id = backend->name();
    if (arguments.has("job-id")) options.id = arguments.at("job-id").as_string();
    options.auto_finalize = arguments.get_bool("auto-finalize", true);
    options.auto_dismiss = arguments.get_bool("auto-dismiss", true);
    return options;
}

Result<Node*> lookup_root_node(BlockLayer& layer, std::string_view name) {
    Node* node = TRY(lookup_node(layer, name, name));
    const auto by_backend = [](const Edge* user) {
        return user->parent().as_backend() != nullptr;
    };
    if (!std::all_of(node->parents().begin(), node->parents().end(), by_backend))
        return failure("Need a root block node");
    return node;
}

Node* find_backing_image(Node& top, const std::string& filename) {
    for (Node* overlay = without_filters(&top); overlay != nullptr;) {
        Node* image = without_filters(below(*overlay));
        if (image == nullptr) return nullptr;
        if (filename.empty() || image->filename().empty()) return nullptr;
        if (filename == image->filename()) return image;
        // The overlay's own name for it counts unless it was opened with another image below.
        if (full_backing_filename(*overlay) == image->filename() &&
            filename == overlay->driver().info().backing_filename)
            return image;
        overlay = image;
    }
    return nullptr;
}

}  // namespace blocklayer
