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

// What is copied: from the overlay down to `bottom`, a node with data of its own. What goes: all
// from below the overlay down to `last`, which is `bottom` or a filter under it.
struct Range {
    NodeRef bottom, last;
};

Result<Range> range_to_bottom(BlockLayer& layer, Node& overlay, const std::string& name) {
    Node* bottom = TRY(lookup_node(layer, "", name));
    if (bottom->is_filter())
        return failure(
            fmt::format("Node '{}' is a filter, use a non-filter node as 'bottom'", name));
    if (!chain_contains(overlay, *bottom))
        return failure(fmt::format("Node '{}' is not in a chain starting from '{}'", name,
                                   overlay.name()));
    return Range{NodeRef(bottom), NodeRef(bottom)};
}

// nullptr: there is none, the whole chain is copied.
Result<Node*> find_base(BlockLayer& layer, Node& overlay, const Value& arguments) {
    if (const Value* name = arguments.find("base-node")) {
        Node* base = TRY(lookup_node(layer, "", name->as_string()));
        if (base == &overlay || !chain_contains(overlay, *base))
            return failure(fmt::format("Node '{}' is not a backing image of '{}'",
                                       name->as_string(), overlay.name()));
        return base;
    }
    const Value* filename = arguments.find("base");
    if (filename == nullptr) return nullptr;
    Node* base = find_backing_image(overlay, filename->as_string());
    if (base == nullptr)
        return failure(fmt::format("Can't find '{}' in the backing chain", filename->as_string()));
    return base;
}

// An empty bottom: only filters are above the base.
Range range_to_base(Node& overlay, const Node* base) {
    Node *bottom = nullptr, *last = &overlay;
    for (Node* node = &overlay; node != nullptr && node != base; node = below(*node)) {
        if (!node->is_filter()) bottom = node;
        last = node;
    }
    if (base == nullptr && bottom == nullptr) bottom = last;  // filters without anything below
    return {NodeRef(bottom), NodeRef(last)};
}

Result<Value> block_stream(sim::Co& co, BlockLayer& layer, const Value& arguments) {
    const std::string& device = arguments.at("device").as_string();
    TRY(check_exclusive(arguments));
    const NodeRef overlay(TRY(lookup_node(layer, device, device)));
    Range range;
    Node* base = nullptr;
    if (const Value* bottom = arguments.find("bottom")) {
        range = TRY(range_to_bottom(layer, *overlay, bottom->as_string()));
        base = below(*range.bottom);
    } else {
        base = TRY(find_base(layer, *overlay, arguments));
        range = range_to_base(*overlay, base);
    }
    for (Node* node = overlay.get();; node = below(*node)) {
        TRY(layer.check_blocked(*node, op_stream));
        if (node == range.last.get()) break;
    }
    if (arguments.has("backing-file") && base == nullptr)
        return failure("backing file specified, but streaming the entire chain");
    if (!range.bottom)
        return failure(fmt::format("'{}' is not in the backing chain of '{}'", base->name(),
                                   overlay->name()));

    StreamOptions options;
    options.job = job_options(arguments, *overlay);
    options.speed = arguments.get_int("speed", 0);
    options.on_error = on_error_of(arguments, "on-error");
    options.filter_node_name = optional_name(arguments, "filter-node-name");
    options.backing_file = optional_name(arguments, "backing-file");
    TRY(Stream::launch(co, *overlay, *range.bottom, *range.last, std::move(options)));
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
