// SPDX-License-Identifier: Apache-2.0
// A new image is laid out as the reference does it: header, refcount table, first refcount block,
// then the L1 table.
#include "blocklayer/drivers/formats/qcow2/create.hpp"

#include <bit>

#include "blocklayer/drivers/formats/qcow2/header.hpp"
#include "blocklayer/graph/open.hpp"
#include "blocklayer/layer.hpp"

namespace blocklayer::qcow2 {
namespace {

struct Wanted {
    Header header;
    std::uint64_t size = 0;
    std::string preallocation;
};

constexpr const char* needs_v3 = " compatibility level 1.1 {} above (use version=v3 or greater)";

Status check_features(const Value& options) {
    if (options.has("encrypt"))
        return failure("Creating encrypted images is not supported", Errno::not_supported);
    if (options.get_bool("extended-l2", false))
        return failure("Extended L2 entries are not supported", Errno::not_supported);
    if (options.get_bool("data-file-raw", false) && !options.has("data-file"))
        return failure("data-file-raw requires data-file");
    if (options.has("data-file"))
        return failure("External data files are not supported", Errno::not_supported);
    return {};
}

Result<Wanted> read_wanted(const Value& options) {
    Wanted wanted;
    Header& header = wanted.header;
    wanted.size = options.get_uint("size", 0);
    wanted.preallocation = options.get_string("preallocation", "off");
    if (wanted.size % sector_bytes != 0)
        return failure("Image size must be a multiple of 512 bytes");
    header.version = options.get_string("version", "v3") == "v2" ? 2 : 3;
    const std::uint64_t cluster_bytes = options.get_uint("cluster-size", 65536);
    if (!std::has_single_bit(cluster_bytes) || cluster_bytes < 1ull << cluster_bits_min ||
        cluster_bytes > 1ull << cluster_bits_max)
        return failure("Cluster size must be a power of two between 512 and 2048k");
    header.geometry.cluster_bits = static_cast<std::uint32_t>(std::countr_zero(cluster_bytes));
    TRY(check_features(options));
    if (wanted.preallocation != "off" && options.has("backing-file"))
        return failure("Backing file and preallocation can only be used at the same time if "
                       "extended_l2 is on");
    if (options.has("backing-fmt") && !options.has("backing-file"))
        return failure("Backing format cannot be used without backing file");
    if (options.get_bool("lazy-refcounts", false)) {
        if (header.version < 3)
            return failure("Lazy refcounts only supported with" +
                           fmt::format(fmt::runtime(needs_v3), "and"));
        header.compatible |= compatible_lazy_refcounts;
    }
    const std::uint64_t refcount_bits = options.get_uint("refcount-bits", 16);
    if (refcount_bits > 64 || !std::has_single_bit(refcount_bits))
        return failure("Refcount width must be a power of two and may not exceed 64 bits");
    if (header.version < 3 && refcount_bits != 16)
        return failure("Different refcount widths than 16 bits require" +
                       fmt::format(fmt::runtime(needs_v3), "or"));
    header.geometry.refcount_order = static_cast<std::uint32_t>(std::countr_zero(refcount_bits));
    if (options.get_string("compression-type", "zlib") == "zstd") {
        if (header.version < 3)
            return failure("Non-zlib compression type is only supported with" +
                           fmt::format(fmt::runtime(needs_v3), "and"));
        header.compression = Compression::zstd;
        header.incompatible |= incompatible_compression;
    }
    return wanted;
}

// The smallest image: three clusters, a disk of no length.
IoStatus write_empty(sim::Co& co, BlockBackend& file, Header& header) {
    const Geometry& geometry = header.geometry;
    const std::uint64_t cluster_bytes = geometry.cluster_bytes();
    header.refcount_table_offset = cluster_bytes;
    header.refcount_table_clusters = 1;
    std::vector<std::byte> bytes = TRY(serialise_header(header));
    bytes.resize(cluster_bytes * 3);
    write_be(bytes.data() + cluster_bytes, cluster_bytes * 2);
    for (std::uint64_t cluster = 0; cluster < 3; ++cluster)
        set_refcount(bytes.data() + 2 * cluster_bytes, cluster, geometry.refcount_order, 1);
    return file.write(co, 0, std::span<const std::byte>(bytes));
}

Status could_not(std::string_view what, Errno error) {
    return failure(fmt::format("{}: {}", what, sim::errno_text(error)), error);
}

}  // namespace

std::vector<MemberSpec> create_members() {
    return {required("file", "BlockdevRef", "node to create the image format on"),
            optional("data-file", "BlockdevRef", "node that holds the guest's data"),
            optional("data-file-raw", "bool", "the data file reads as a raw image"),
            optional("extended-l2", "bool", "subclusters (default: false)"),
            required("size", "size", "length of the disk in bytes"),
            optional("version", "BlockdevQcow2Version", "compatibility level (default: v3)"),
            optional("backing-file", "str", "file name of the backing file"),
            optional("backing-fmt", "BlockdevDriver", "its format"),
            optional("encrypt", "any", "encryption"),
            optional("cluster-size", "size", "bytes in a cluster (default: 65536)"),
            optional("preallocation", "PreallocMode", "what to allocate (default: off)"),
            optional("lazy-refcounts", "bool", "postpone refcount updates (default: off)"),
            optional("refcount-bits", "int", "width of refcounts (default: 16)"),
            optional("compression-type", "Qcow2CompressionType", "zlib (the default) or zstd")};
}

Status create_image(sim::Co& co, CreateContext& context) {
    const Value& options = context.options;
    BlockLayer& layer = context.layer;
    const Value& file_option = options.at("file");
    NodeRef file;
    if (file_option.is_string()) {
        Node* node = layer.find_node(file_option.as_string());
        if (node == nullptr)
            return failure(fmt::format("Cannot find device='{0}' nor node-name='{0}'",
                                       file_option.as_string()));
        file = NodeRef(node);
    } else {
        file = TRY(layer.open(co, file_option));
    }
    Wanted wanted = TRY(read_wanted(options));
    {
        const PermSet needs = Perm::write | Perm::resize;
        const auto backend = BlockBackend::make(layer, {.used = needs, .shared = PermSet::all()});
        TRY(backend->insert(*file));
        backend->allow_write_beyond_end = true;
        TRY(backend->truncate(co, 0, true));
        if (const IoStatus done = write_empty(co, *backend, wanted.header); !done)
            return could_not("Could not write qcow2 header", done.error());
    }

    Value opened = Value::dict({{"driver", "qcow2"}, {"file", file->name()}});
    opened.set("backing", nullptr);
    NodeRef image = TRY(layer.open(co, opened));
    const auto backend = BlockBackend::make(
        layer, {.used = Perm::write | Perm::resize, .shared = PermSet::all()});
    TRY(backend->insert(*image));
    const Status resized = backend->truncate(co, wanted.size, false, wanted.preallocation);
    if (!resized) {
        Error error = resized.error();
        error.text = "Could not resize image: " + error.text;
        return Unexpected(std::move(error));
    }
    if (options.has("backing-file"))
        TRY(image->driver().change_backing_file(co, options.get_string("backing-file"),
                                                options.get_string("backing-fmt")));
    if (const IoStatus flushed = backend->flush(co); !flushed)
        return could_not("Could not flush the image", flushed.error());
    backend->remove();
    image = NodeRef();
    layer.reap(co);
    return {};
}

}  // namespace blocklayer::qcow2
