// SPDX-License-Identifier: Apache-2.0
// Members are set in the schema's order, as the reference does: it shows where names share a
// bucket.
#include "blocklayer/monitor/block_info/node_info.hpp"

#include "blocklayer/graph/backend.hpp"
#include "blocklayer/graph/dirty_bitmap.hpp"
#include "blocklayer/graph/filename.hpp"
#include "blocklayer/graph/node.hpp"
#include "blocklayer/jobs/chain.hpp"
#include "blocklayer/options/schema.hpp"

namespace blocklayer {
namespace {

std::string_view wire_name(DetectZeroes mode) {
    switch (mode) {
    case DetectZeroes::off: return "off";
    case DetectZeroes::on: return "on";
    case DetectZeroes::unmap: return "unmap";
    }
    return "off";
}

enum class Implicit : bool { shown, passed_over };

// What a user knows of: a job's filter without a name of his own is not shown to him.
Node* known(Node* node, Implicit implicit) {
    return implicit == Implicit::shown || node == nullptr ? node : without_implicit(node);
}

Value image_info(const Node& node, Chain chain, Implicit implicit) {
    Value image = Value::dict(
        {{"filename", Value(shown_filename(node))}, {"format", Value(node.spec().name)}});
    const DriverInfo info = node.driver().info();
    if (info.known) image.set("dirty-flag", info.dirty);
    if (const auto allocated = node.driver().allocated_bytes())
        image.set("actual-size", *allocated);
    image.set("virtual-size", node.length());
    if (info.cluster_size > 0) image.set("cluster-size", info.cluster_size);
    if (!info.backing_filename.empty()) {
        image.set("backing-filename", info.backing_filename);
        image.set("full-backing-filename", full_backing_filename(node));
        if (!info.backing_format.empty()) image.set("backing-filename-format", info.backing_format);
    }
    if (chain == Chain::yes)
        if (const Node* next = known(below(node), implicit))
            image.set("backing-image", image_info(*next, chain, implicit));
    if (!info.format_specific.is_null()) image.set("format-specific", info.format_specific);
    return image;
}

Value bitmap_info(const DirtyBitmap& bitmap) {
    Value info = Value::dict();
    if (!bitmap.name().empty()) info.set("name", bitmap.name());  // a job's has none
    info.set("count", bitmap.dirty_bytes());
    info.set("granularity", bitmap.granularity());
    info.set("recording", bitmap.enabled);
    info.set("busy", bitmap.busy);
    info.set("persistent", false);
    return info;
}

std::int64_t depth_below(const Node& node, Implicit implicit) {
    std::int64_t depth = 0;
    for (const Node* next = known(below(node), implicit); next != nullptr;
         next = known(below(*next), implicit))
        ++depth;
    return depth;
}

}  // namespace

Value block_device_info(Node& top, const BlockBackend* backend, Chain chain) {
    const Implicit implicit = backend != nullptr ? Implicit::passed_over : Implicit::shown;
    Node& node = *known(&top, implicit);
    Value info = Value::dict({{"file", Value(shown_filename(node))},
                              {"node-name", Value(node.name())},
                              {"ro", Value(node.read_only())},
                              {"drv", Value(node.spec().name)}});
    if (const Edge* backing = node.cow_child())
        info.set("backing_file", shown_filename(backing->child()));
    info.set("backing_file_depth", chain == Chain::yes ? depth_below(node, implicit) : 0);
    info.set("encrypted", false);
    info.set("detect_zeroes", wire_name(node.flags().detect_zeroes));
    for (const char* limit : {"bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr"})
        info.set(limit, 0);
    info.set("image", image_info(node, chain, implicit));
    info.set("cache", Value::dict({{"writeback", Value(backend == nullptr || backend->write_cache)},
                                   {"direct", Value(node.flags().direct)},
                                   {"no-flush", Value(node.flags().no_flush)}}));
    info.set("write_threshold", 0);
    Value bitmaps;
    for (const auto& bitmap : node.dirty_bitmaps()) bitmaps.push(bitmap_info(*bitmap));
    if (!bitmaps.is_null()) info.set("dirty-bitmaps", bitmaps);
    return info;
}

}  // namespace blocklayer
