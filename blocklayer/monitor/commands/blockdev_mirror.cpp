// SPDX-License-Identifier: Apache-2.0
// blockdev-mirror: copies one node to another, keeps them equal and puts the other in its place.
#include <fmt/format.h>

#include <bit>
#include <unordered_set>
#include <vector>

#include "blocklayer/monitor/job_arguments.hpp"
#include "blocklayer/jobs/chain.hpp"
#include "blocklayer/jobs/mirror.hpp"
#include "blocklayer/layer.hpp"
#include "blocklayer/monitor/command.hpp"
#include "blocklayer/monitor/lookup.hpp"

namespace blocklayer {
namespace {

constexpr std::uint64_t granularity_min = 512, granularity_max = 64 * 1024 * 1024;

// Would nobody see other data than before if the mirror of `source` took this node's place?
bool can_replace(const Node& source, const Node& replaced) {
    std::vector<const Node*> showing{&source};  // nodes known to have the data of the source
    std::unordered_set<const Node*> met{&source};  // asked only, never walked
    for (std::size_t at = 0; at < showing.size(); ++at) {
        const Node& node = *showing[at];
        if (&node == &replaced) return true;
        if (!node.is_filter()) continue;
        for (const Edge* edge : node.children()) {
            if (edge != node.filtered_child() && !node.spec().equal_children) continue;
            if (met.insert(&edge->child()).second) showing.push_back(&edge->child());
        }
    }
    return false;
}

Status check_replaces(BlockLayer& layer, const Node& source, const std::string& name) {
    Node* replaced = layer.find_node(name);
    if (replaced == nullptr)
        return failure(fmt::format("Failed to find node with node-name='{}'", name));
    TRY(layer.check_blocked(*replaced, op_replace));
    if (!can_replace(source, *replaced))
        return failure(fmt::format(
            "Cannot replace '{}' by a node mirrored from '{}', because it cannot be guaranteed "
            "that doing so would not lead to an abrupt change of visible data",
            replaced->name(), source.name()));
    if (replaced->length() != source.length())
        return failure("cannot replace image with a mirror image of different size");
    return {};
}

Status read_sizes(const Value& arguments, MirrorOptions& options) {
    const std::uint64_t granularity = arguments.get_uint("granularity", 0);
    if (granularity != 0 && (granularity < granularity_min || granularity > granularity_max))
        return failure("Parameter 'granularity' expects a value in range [512B, 64MB]");
    if (granularity != 0 && !std::has_single_bit(granularity))
        return failure("Parameter 'granularity' expects a power of 2");
    options.granularity = static_cast<std::uint32_t>(granularity);
    options.speed = arguments.get_int("speed", 0);
    return {};
}

Result<Value> blockdev_mirror(sim::Co& co, BlockLayer& layer, const Value& arguments) {
    const NodeRef source(TRY(lookup_root_node(layer, arguments.at("device").as_string())));
    const std::string& target_name = arguments.at("target").as_string();
    const NodeRef target(TRY(lookup_node(layer, target_name, target_name)));

    MirrorOptions options;
    options.job = job_options(arguments, *source);
    TRY(read_sizes(arguments, options));
    TRY(layer.check_blocked(*source, op_mirror_source));
    TRY(layer.check_blocked(*target, op_mirror_target));
    const std::string sync = arguments.at("sync").as_string();
    options.sync = sync == "none"  ? MirrorSync::none
                   : sync == "top" ? MirrorSync::top
                                   : MirrorSync::full;
    options.replaces = arguments.get_string("replaces");
    if (arguments.has("replaces")) TRY(check_replaces(layer, *source, options.replaces));
    if (sync == "incremental" || sync == "bitmap")
        return failure(fmt::format("Sync mode '{}' not supported", sync));
    const std::int64_t buffer = arguments.get_int("buf-size", 0);
    if (buffer < 0) return failure("Invalid parameter 'buf-size'");
    options.buffer_bytes = static_cast<std::uint64_t>(buffer);

    options.on_source_error = on_error_of(arguments, "on-source-error");
    options.on_target_error = on_error_of(arguments, "on-target-error");
    options.filter_node_name = optional_name(arguments, "filter-node-name");
    options.write_blocking = arguments.get_string("copy-mode") == "write-blocking";
    TRY(Mirror::launch(co, *source, *target, std::move(options)));
    return Value();
}

const CommandRegistration registration(
    {.name = "blockdev-mirror",
     .args = {optional("job-id", "str"), required("device", "str"), required("target", "str"),
              optional("replaces", "str"), required("sync", "MirrorSyncMode"),
              optional("speed", "int"), optional("granularity", "uint32"),
              optional("buf-size", "int"), optional("on-source-error", "BlockdevOnError"),
              optional("on-target-error", "BlockdevOnError"), optional("filter-node-name", "str"),
              optional("copy-mode", "MirrorCopyMode"), optional("auto-finalize", "bool"),
              optional("auto-dismiss", "bool")},
     .run = blockdev_mirror,
     .source = "QAPI block-core.json"});

}  // namespace
}  // namespace blocklayer
