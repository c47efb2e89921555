// SPDX-License-Identifier: Apache-2.0
// block-stream: copies what an image has from those below it into the image itself.
#include <fmt/format.h>

#include "blocklayer/jobs/chain.hpp"
#include "blocklayer/jobs/stream.hpp"
#include "blocklayer/layer.hpp"
#include "blocklayer/monitor/command.hpp"
#include "blocklayer/monitor/job_arguments.hpp"
#include "blocklayer/monitor/lookup.hpp"

namespace blocklayer {
namespace {

Status check_exclusive(const Value& arguments) {
    const char* const pairs[][2] = {
        {"base", "base-node"}, {"base", "bottom"}, {"bottom", "base-node"}};
    for (const auto& [one, other] : pairs)
        if (arguments.has(one) && arguments.has(other))
            return failure(
                fmt::format("'{}' and '{}' cannot be specified at the same time", one, other));
    return {};
}

// The lowest node whose data is to be copied.
Result<NodeRef> find_bottom(BlockLayer& layer, Node& overlay, const Value& arguments) {
    if (const Value* name = arguments.find("bottom")) {
        Node* bottom = TRY(lookup_node(layer, "", name->as_string()));
        if (!chain_contains(overlay, *bottom))
            return failure(fmt::format("Node '{}' is not in a chain starting from '{}'",
                                       name->as_string(), overlay.name()));
        return NodeRef(bottom);
    }
    Node* base = nullptr;
    if (const Value* name = arguments.find("base-node")) {
        base = TRY(lookup_node(layer, "", name->as_string()));
        if (base == &overlay || !chain_contains(overlay, *base))
            return failure(fmt::format("Node '{}' is not a backing image of '{}'",
                                       name->as_string(), overlay.name()));
    } else if (const Value* filename = arguments.find("base")) {
        base = find_backing_image(overlay, filename->as_string());
        if (base == nullptr)
            return failure(
                fmt::format("Can't find '{}' in the backing chain", filename->as_string()));
    }
    Node* bottom = &overlay;
    while (below(*bottom) != nullptr && below(*bottom) != base) bottom = below(*bottom);
    return NodeRef(bottom);
}

Result<Value> block_stream(sim::Co& co, BlockLayer& layer, const Value& arguments) {
    const std::string& device = arguments.at("device").as_string();
    TRY(check_exclusive(arguments));
    const NodeRef overlay(TRY(lookup_node(layer, device, device)));
    const NodeRef bottom = TRY(find_bottom(layer, *overlay, arguments));
    for (Node* node = overlay.get();; node = below(*node)) {
        TRY(layer.check_blocked(*node, op_stream));
        if (node == bottom.get()) break;
    }
    if (arguments.has("backing-file") && below(*bottom) == nullptr)
        return failure("backing file specified, but streaming the entire chain");

    StreamOptions options;
    options.job = job_options(arguments, *overlay);
    options.speed = arguments.get_int("speed", 0);
    options.on_error = on_error_of(arguments, "on-error");
    options.filter_node_name = optional_name(arguments, "filter-node-name");
    options.backing_file = optional_name(arguments, "backing-file");
    TRY(Stream::launch(co, *overlay, *bottom, std::move(options)));
    return Value();
}

const CommandRegistration registration(
    {.name = "block-stream",
     .args = {optional("job-id", "str"), required("device", "str"), optional("base", "str"),
              optional("base-node", "str"), optional("backing-file", "str"),
              optional("bottom", "str"), optional("speed", "int"),
              optional("on-error", "BlockdevOnError"), optional("filter-node-name", "str"),
              optional("auto-finalize", "bool"), optional("auto-dismiss", "bool")},
     .run = block_stream,
     .source = "QAPI block-core.json"});

}  // namespace
}  // namespace blocklayer
