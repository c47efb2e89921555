// SPDX-License-Identifier: Apache-2.0
// block-dirty-bitmap-add, -remove, -clear, -enable, -disable.
#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "blocklayer/graph/dirty_bitmap.hpp"
#include "blocklayer/layer.hpp"
#include "blocklayer/monitor/command.hpp"
#include "blocklayer/monitor/lookup.hpp"

namespace blocklayer {
namespace {

constexpr std::size_t name_bytes_max = 1023;
constexpr std::uint32_t granularity_default = 64 * 1024, granularity_default_least = 4096;

Result<Node*> node_of(BlockLayer& layer, const Value& arguments) {
    const std::string& name = arguments.at("node").as_string();
    return lookup_node(layer, name, name);
}

DirtyBitmap* find_bitmap(Node& node, std::string_view name) {
    if (name.empty()) return nullptr;  // those are jobs' own
    for (const auto& bitmap : node.dirty_bitmaps())
        if (bitmap->name() == name) return bitmap.get();
    return nullptr;
}

// A cluster, if the format has any; within reason.
std::uint32_t default_granularity(Node& node) {
    const std::uint64_t cluster = node.driver().info().cluster_size;
    if (cluster == 0) return granularity_default;
    return static_cast<std::uint32_t>(
        std::clamp<std::uint64_t>(cluster, granularity_default_least, granularity_default));
}

Result<Value> add(sim::Co&, BlockLayer& layer, const Value& arguments) {
    const std::string& name = arguments.at("name").as_string();
    if (name.empty()) return failure("Bitmap name cannot be empty");
    Node* node = TRY(node_of(layer, arguments));
    std::uint32_t granularity = default_granularity(*node);
    if (const Value* given = arguments.find("granularity")) {
        granularity = static_cast<std::uint32_t>(given->as_uint());
        if (granularity < 512 || !std::has_single_bit(granularity))
            return failure("Granularity must be power of 2 and at least 512");
    }
    if (arguments.get_bool("persistent", false))
        return failure(fmt::format("Can't store persistent bitmaps to {}: Operation not supported",
                                   arguments.at("node").as_string()));
    if (find_bitmap(*node, name) != nullptr)
        return failure(fmt::format("Bitmap already exists: {}", name));
    if (name.size() > name_bytes_max) return failure(fmt::format("Bitmap name too long: {}", name));
    auto bitmap = std::make_unique<DirtyBitmap>(name, node->length(), granularity);
    bitmap->enabled = !arguments.get_bool("disabled", false);
    auto& bitmaps = node->dirty_bitmaps();
    bitmaps.insert(bitmaps.begin(), std::move(bitmap));  // newest first
    return Value();
}

Result<Value> remove(sim::Co&, BlockLayer& layer, const Value& arguments) {
    const DirtyBitmap* removed = TRY(lookup_idle_bitmap(layer, arguments));
    Node* node = TRY(node_of(layer, arguments));
    std::erase_if(node->dirty_bitmaps(),
                  [&](const auto& bitmap) { return bitmap.get() == removed; });
    return Value();
}

Result<Value> clear(sim::Co&, BlockLayer& layer, const Value& arguments) {
    DirtyBitmap* bitmap = TRY(lookup_idle_bitmap(layer, arguments));
    bitmap->clear(0, bitmap->length());
    return Value();
}

Result<Value> set_enabled(BlockLayer& layer, const Value& arguments, bool enabled) {
    TRY(lookup_idle_bitmap(layer, arguments))->enabled = enabled;
    return Value();
}
Result<Value> enable(sim::Co&, BlockLayer& layer, const Value& arguments) {
    return set_enabled(layer, arguments, true);
}
Result<Value> disable(sim::Co&, BlockLayer& layer, const Value& arguments) {
    return set_enabled(layer, arguments, false);
}

CommandSpec on_bitmap(std::string name, CommandFn run) {
    return {.name = std::move(name),
            .args = {required("node", "str"), required("name", "str")},
            .run = run,
            .source = "QAPI block-core.json"};
}

const CommandRegistration add_registration(
    {.name = "block-dirty-bitmap-add",
     .args = {required("node", "str"), required("name", "str"), optional("granularity", "uint32"),
              optional("persistent", "bool"), optional("disabled", "bool")},
     .run = add,
     .source = "QAPI block-core.json"});
const CommandRegistration remove_registration(on_bitmap("block-dirty-bitmap-remove", remove));
const CommandRegistration clear_registration(on_bitmap("block-dirty-bitmap-clear", clear));
const CommandRegistration enable_registration(on_bitmap("block-dirty-bitmap-enable", enable));
const CommandRegistration disable_registration(on_bitmap("block-dirty-bitmap-disable", disable));

}  // namespace
}  // namespace blocklayer
