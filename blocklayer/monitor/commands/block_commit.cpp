// SPDX-License-Identifier: Apache-2.0
// block-commit: writes overlays into an image below them and takes them out of the chain.
#include <fmt/format.h>

#include "blocklayer/jobs/chain.hpp"
#include "blocklayer/jobs/commit.hpp"
#include "blocklayer/layer.hpp"
#include "blocklayer/monitor/command.hpp"
#include "blocklayer/monitor/job_arguments.hpp"
#include "blocklayer/monitor/lookup.hpp"

namespace blocklayer {
namespace {

struct Range {
    NodeRef active, top, base;
};

// The layer that the command is about; the class of a missing one is part of the interface.
Result<Node*> active_layer(BlockLayer& layer, const std::string& device) {
    Result<Node*> node = lookup_root_node(layer, device);
    if (node || layer.find_device_or_node(device) != nullptr) return node;
    return Unexpected(Error{.error_class = ErrorClass::device_not_found,
                            .text = fmt::format("Device '{}' not found", device)});
}

Node& lowest(Node& top) {
    Node* node = &top;
    while (Node* next = below(*node)) node = next;
    return *node;
}

Result<NodeRef> find_top(BlockLayer& layer, Node& active, const Value& arguments) {
    if (const Value* name = arguments.find("top-node")) {
        NodeRef top(TRY(lookup_node(layer, "", name->as_string())));
        if (chain_contains(active, *top)) return top;
        return failure(fmt::format("'{}' is not in this backing file chain", name->as_string()));
    }
    const Value* name = arguments.find("top");
    if (name == nullptr || name->as_string() == active.filename()) return NodeRef(&active);
    if (Node* top = find_backing_image(active, name->as_string())) return NodeRef(top);
    return failure(fmt::format("Top image file {} not found", name->as_string()));
}

Result<NodeRef> find_base(BlockLayer& layer, Node& top, const Value& arguments) {
    if (const Value* name = arguments.find("base-node")) {
        NodeRef base(TRY(lookup_node(layer, "", name->as_string())));
        if (chain_contains(top, *base)) return base;
        return failure(fmt::format("'{}' is not in this backing file chain", name->as_string()));
    }
    const Value* name = arguments.find("base");
    if (name == nullptr) return NodeRef(&lowest(top));
    if (Node* base = find_backing_image(top, name->as_string())) return NodeRef(base);
    return failure(fmt::format("Can't find '{}' in the backing chain", name->as_string()));
}

Result<Range> find_range(BlockLayer& layer, const Value& arguments) {
    Range range;
    range.active = NodeRef(TRY(active_layer(layer, arguments.at("device").as_string())));
    TRY(layer.check_blocked(*range.active, op_commit_source));
    if (arguments.has("top-node") && arguments.has("top"))
        return failure("'top-node' and 'top' are mutually exclusive");
    range.top = TRY(find_top(layer, *range.active, arguments));
    if (arguments.has("base-node") && arguments.has("base"))
        return failure("'base-node' and 'base' are mutually exclusive");
    range.base = TRY(find_base(layer, *range.top, arguments));
    for (Node* node = range.top.get(); node != nullptr; node = below(*node)) {
        TRY(layer.check_blocked(*node, op_commit_target));
        if (node == range.base.get()) break;
    }
    if (range.top.get() == range.base.get())
        return failure("cannot commit an image into itself");
    return range;
}

Result<Value> block_commit(sim::Co& co, BlockLayer& layer, const Value& arguments) {
    const Range range = TRY(find_range(layer, arguments));
    CommitOptions options;
    options.job = job_options(arguments, *range.active);
    options.speed = arguments.get_int("speed", 0);
    options.on_error = on_error_of(arguments, "on-error");
    options.filter_node_name = optional_name(arguments, "filter-node-name");
    options.backing_file = arguments.get_string("backing-file");

    const bool is_active = without_filters(range.top.get()) == without_filters(range.active.get());
    if (is_active || range.top->cumulative().used.contains(Perm::write)) {
        if (arguments.has("backing-file"))
            return failure(is_active
                               ? "'backing-file' specified, but 'top' is the active layer"
                               : "'backing-file' specified, but 'top' has a writer on it");
        TRY(launch_active_commit(co, *range.top, *range.base, std::move(options)));
        return Value();
    }
    if (const Node* overlay = overlay_of(*range.active, *range.top))
        TRY(layer.check_blocked(*overlay, op_commit_target));
    TRY(Commit::launch(co, *range.active, *range.top, *range.base, std::move(options)));
    return Value();
}

const CommandRegistration registration(
    {.name = "block-commit",
     .args = {optional("job-id", "str"), required("device", "str"), optional("base-node", "str"),
              with_feature("deprecated", optional("base", "str")), optional("top-node", "str"),
              with_feature("deprecated", optional("top", "str")),
              optional("backing-file", "str"), optional("speed", "int"),
              optional("on-error", "BlockdevOnError"), optional("filter-node-name", "str"),
              optional("auto-finalize", "bool"), optional("auto-dismiss", "bool")},
     .run = block_commit,
     .source = "QAPI block-core.json"});

}  // namespace
}  // namespace blocklayer
