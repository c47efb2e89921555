// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "blocklayer/layer.hpp"
#include "blocklayer/monitor/block_info/node_info.hpp"
#include "blocklayer/monitor/command.hpp"

namespace blocklayer {
namespace {

const TypeRegistration cache({.name = "BlockdevCacheInfo",
                              .members = {required("writeback", "bool"), required("direct", "bool"),
                                          required("no-flush", "bool")}});
const TypeRegistration bitmap({.name = "BlockDirtyInfo",
                               .members = {optional("name", "str"), required("count", "int"),
                                           required("granularity", "uint32"),
                                           required("recording", "bool"), required("busy", "bool"),
                                           required("persistent", "bool"),
                                           optional("inconsistent", "bool")}});
const TypeRegistration image(
    {.name = "ImageInfo",
     .members = {required("filename", "str"), required("format", "str"),
                 optional("dirty-flag", "bool"), optional("actual-size", "int"),
                 required("virtual-size", "int"), optional("cluster-size", "int"),
                 optional("encrypted", "bool"), optional("compressed", "bool"),
                 optional("backing-filename", "str"), optional("full-backing-filename", "str"),
                 optional("backing-filename-format", "str"), optional("backing-image", "ImageInfo"),
                 optional("format-specific", "any")}});
const TypeRegistration info(
    {.name = "BlockDeviceInfo",
     .members = {required("file", "str"), optional("node-name", "str"), required("ro", "bool"),
                 required("drv", "str"), optional("backing_file", "str"),
                 required("backing_file_depth", "int"), required("encrypted", "bool"),
                 required("detect_zeroes", "BlockdevDetectZeroesOptions"), required("bps", "int"),
                 required("bps_rd", "int"), required("bps_wr", "int"), required("iops", "int"),
                 required("iops_rd", "int"), required("iops_wr", "int"),
                 required("image", "ImageInfo"), required("cache", "BlockdevCacheInfo"),
                 required("write_threshold", "int"),
                 optional("dirty-bitmaps", "[BlockDirtyInfo]")}});

Result<Value> query_named_block_nodes(sim::Co&, BlockLayer& layer, const Value& arguments) {
    const Chain chain = arguments.get_bool("flat", false) ? Chain::no : Chain::yes;
    std::vector<Node*> nodes = layer.nodes();
    std::reverse(nodes.begin(), nodes.end());  // newest first
    Value list = Value::list();
    for (Node* node : nodes) list.push(block_device_info(*node, nullptr, chain));
    return list;
}

const CommandRegistration registration({.name = "query-named-block-nodes",
                                        .args = {optional("flat", "bool")},
                                        .returns = "[BlockDeviceInfo]",
                                        .run = query_named_block_nodes,
                                        .source = "QAPI block-core.json"});

}  // namespace
}  // namespace blocklayer
