// SPDX-License-Identifier: Apache-2.0
#include "blocklayer/drivers/formats/qcow2/header.hpp"

#include <algorithm>

#include "sim/check.hpp"

namespace blocklayer::qcow2 {
namespace {

enum FeatureKind : std::uint8_t { kind_incompatible, kind_compatible, kind_autoclear };

struct FeatureName {
    FeatureKind kind;
    std::uint8_t bit;
    const char* name;
};

constexpr FeatureName known_features[] = {
    {kind_incompatible, 0, "dirty bit"},
    {kind_incompatible, 1, "corrupt bit"},
    {kind_incompatible, 2, "external data file"},
    {kind_incompatible, 3, "compression type"},
    {kind_incompatible, 4, "extended L2 entries"},
    {kind_compatible, 0, "lazy refcounts"},
    {kind_autoclear, 0, "bitmaps"},
    {kind_autoclear, 1, "raw external data"},
};
constexpr std::size_t feature_bytes = 48, feature_name_bytes = 46;
constexpr std::uint64_t feature_names_room = 4096;  // clusters up to this do without

// What of an image's incompatible features this program can handle.
constexpr std::uint64_t handled_incompatible =
    incompatible_dirty | incompatible_corrupt | incompatible_compression;

template <class T>
T field(std::span<const std::byte> bytes, std::size_t at) {
    return read_be<T>(bytes.data() + at);
}

Status check_table(const Geometry& geometry, std::uint64_t offset, std::uint64_t entries,
                   std::uint64_t entry_bytes, std::uint64_t bytes_max, std::string_view name) {
    if (entries > bytes_max / entry_bytes)
        return failure(fmt::format("{} too large", name), Errno::too_big);
    const std::uint64_t bytes = entries * entry_bytes;
    if (!geometry.aligned(offset) || offset > std::uint64_t{INT64_MAX} - bytes)
        return failure(fmt::format("{} offset invalid", name));
    return {};
}

Status check_v3(Header& header, std::span<const std::byte> bytes) {
    if (bytes.size() < header_bytes_v3) return failure("qcow2 header too short");
    header.incompatible = field<std::uint64_t>(bytes, 72);
    header.compatible = field<std::uint64_t>(bytes, 80);
    header.autoclear = field<std::uint64_t>(bytes, 88);
    header.geometry.refcount_order = field<std::uint32_t>(bytes, 96);
    header.header_bytes = field<std::uint32_t>(bytes, 100);
    if (header.header_bytes < header_bytes_v3) return failure("qcow2 header too short");
    if (header.header_bytes > header.geometry.cluster_bytes())
        return failure("qcow2 header exceeds cluster size");
    std::uint8_t compression = 0;
    if (header.header_bytes > header_bytes_v3 && bytes.size() > header_bytes_v3)
        compression = field<std::uint8_t>(bytes, header_bytes_v3);
    const bool flagged = (header.incompatible & incompatible_compression) != 0;
    if (compression > static_cast<std::uint8_t>(Compression::zstd))
        return failure(fmt::format("qcow2: unknown compression type: {}", compression),
                       Errno::not_supported);
    if (flagged && compression == 0)
        return failure("qcow2: Compression type incompatible feature bit must not be set");
    if (!flagged && compression != 0)
        return failure("qcow2: Compression type incompatible feature bit must be set");
    header.compression = static_cast<Compression>(compression);
    return {};
}

// The names the image itself gives to its features, for one that this program cannot handle.
std::string unsupported_features(const Header& header, std::span<const std::byte> names) {
    std::string list;
    std::uint64_t unknown = header.incompatible & ~handled_incompatible;
    const auto add = [&](const std::string& name) { list += (list.empty() ? "" : ", ") + name; };
    for (std::size_t at = 0; at + feature_bytes <= names.size(); at += feature_bytes) {
        const auto kind = static_cast<std::uint8_t>(names[at]);
        const auto bit = static_cast<std::uint8_t>(names[at + 1]);
        if (kind != kind_incompatible || bit > 63 || (unknown & (1ull << bit)) == 0) continue;
        const char* text = reinterpret_cast<const char*>(names.data()) + at + 2;
        add(std::string(text, strnlen(text, feature_name_bytes)));
        unknown &= ~(1ull << bit);
    }
    for (const FeatureName& feature : known_features) {
        if (feature.kind != kind_incompatible || (unknown & (1ull << feature.bit)) == 0) continue;
        add(feature.name);
        unknown &= ~(1ull << feature.bit);
    }
    if (unknown != 0) add(fmt::format("Unknown incompatible feature: {:x}", unknown));
    return list;
}

Status parse_one(Header& header, std::uint32_t type, std::span<const std::byte> data,
                 std::span<const std::byte>& feature_names) {
    const auto text = [&] {
        return std::string(reinterpret_cast<const char*>(data.data()), data.size());
    };
    switch (type) {
    case extension_backing_format:
        if (data.size() >= 16)
            return failure(fmt::format("ERROR: ext_backing_format: len={} too large (>={})",
                                       data.size(), 16));
        header.backing_format = text();
        header.has_backing_format = true;
        return {};
    case extension_feature_names:
        feature_names = data;
        header.has_feature_names = true;
        return {};
    case extension_bitmaps: {
        if (data.size() != 24) return failure("bitmaps_ext: Invalid extension length");
        header.bitmaps = {.count = field<std::uint32_t>(data, 0),
                          .directory_bytes = field<std::uint64_t>(data, 8),
                          .directory_offset = field<std::uint64_t>(data, 16)};
        if (field<std::uint32_t>(data, 4) != 0)
            return failure("bitmaps_ext: Reserved field is not zero");
        if (header.bitmaps.count == 0)
            return failure("found bitmaps extension with zero bitmaps");
        if (header.bitmaps.count > 65535)
            return failure("bitmaps_ext: Image has " + std::to_string(header.bitmaps.count) +
                           " bitmaps, exceeding the QEMU supported maximum of 65535");
        if (!header.geometry.aligned(header.bitmaps.directory_offset))
            return failure("bitmaps_ext: invalid bitmap directory offset");
        if (header.bitmaps.directory_bytes > bitmap_directory_bytes_max)
            return failure(fmt::format("bitmaps_ext: bitmap directory size ({}) exceeds the "
                                       "maximum supported size ({})",
                                       header.bitmaps.directory_bytes,
                                       bitmap_directory_bytes_max));
        header.has_bitmaps = true;
        return {};
    }
    default:
        header.extensions.push_back({type, {data.begin(), data.end()}});
        return {};
    }
}

}  // namespace

Result<Header> parse_header(std::span<const std::byte> bytes) {
    Header header;
    if (bytes.size() < 8 || field<std::uint32_t>(bytes, 0) != magic)
        return failure("Image is not in qcow2 format");
    header.version = field<std::uint32_t>(bytes, 4);
    if (header.version < 2 || header.version > 3)
        return failure(fmt::format("Unsupported qcow2 version {}", header.version),
                       Errno::not_supported);
    if (bytes.size() < header_bytes_v2) return failure("qcow2 header too short");
    header.backing_offset = field<std::uint64_t>(bytes, 8);
    header.backing_bytes = field<std::uint32_t>(bytes, 16);
    header.geometry.cluster_bits = field<std::uint32_t>(bytes, 20);
    header.size = field<std::uint64_t>(bytes, 24);
    header.encryption = field<std::uint32_t>(bytes, 32);
    header.l1_entries = field<std::uint32_t>(bytes, 36);
    header.l1_offset = field<std::uint64_t>(bytes, 40);
    header.refcount_table_offset = field<std::uint64_t>(bytes, 48);
    header.refcount_table_clusters = field<std::uint32_t>(bytes, 56);
    header.snapshot_count = field<std::uint32_t>(bytes, 60);
    header.snapshots_offset = field<std::uint64_t>(bytes, 64);

    const Geometry& geometry = header.geometry;
    if (geometry.cluster_bits < cluster_bits_min || geometry.cluster_bits > cluster_bits_max)
        return failure(fmt::format("Unsupported cluster size: 2^{}", geometry.cluster_bits));
    if (header.version == 2)
        header.header_bytes = header_bytes_v2;
    else
        TRY(check_v3(header, bytes));
    if (header.backing_offset > geometry.cluster_bytes())
        return failure("Invalid backing file offset");
    return header;
}

std::uint64_t extensions_end(const Header& header) {
    return header.backing_offset != 0
               ? std::min(header.geometry.cluster_bytes(),
                          header.backing_offset + header.backing_bytes)
               : header.geometry.cluster_bytes();
}

static Status check_limits(const Header& header) {
    const Geometry& geometry = header.geometry;
    if (geometry.refcount_order > 6)
        return failure("Reference count entry width too large; may not exceed 64 bits");
    if (header.encryption > 2)
        return failure(fmt::format("Unsupported encryption method {}", header.encryption));
    if (header.encryption != 0)
        return failure(header.encryption == 1 ? "AES-encrypted images are not supported"
                                              : "LUKS-encrypted images are not supported",
                       Errno::not_supported);
    if (header.refcount_table_clusters > refcount_table_bytes_max / geometry.cluster_bytes())
        return failure("Reference count table too large");
    if (header.refcount_table_clusters == 0)
        return failure("Image does not contain a reference count table");
    TRY(check_table(geometry, header.refcount_table_offset,
                    std::uint64_t{header.refcount_table_clusters} * geometry.cluster_bytes() / 8,
                    8, refcount_table_bytes_max, "Reference count table"));
    if (header.snapshot_count > snapshots_max)
        return failure("Snapshot table too large", Errno::too_big);
    TRY(check_table(geometry, header.snapshots_offset, header.snapshot_count, 40,
                    snapshot_table_bytes_max, "Snapshot table"));
    TRY(check_table(geometry, header.l1_offset, header.l1_entries, 8, l1_bytes_max,
                    "Active L1 table"));
    if (header.size > ~std::uint64_t{0} - geometry.bytes_per_l2() + 1)
        return failure("Could not refresh total sector count: File too large", Errno::too_big);
    if (header.size > std::uint64_t{INT64_MAX}) return failure("Image is too big", Errno::too_big);
    const std::uint64_t l1_needed = geometry.l1_entries_for(header.size);
    if (l1_needed > INT32_MAX) return failure("Image is too big", Errno::too_big);
    if (header.l1_entries < l1_needed) return failure("L1 table is too small");
    return {};
}

Status parse_extensions(Header& header, std::span<const std::byte> bytes) {
    if (header.header_bytes > bytes.size()) return failure("qcow2 header too short");
    if (header.header_bytes > header_bytes_written) {
        const auto rest = bytes.subspan(header_bytes_written,
                                        header.header_bytes - header_bytes_written);
        header.unknown_fields.assign(rest.begin(), rest.end());
    }
    const std::uint64_t end = std::min<std::uint64_t>(
        header.backing_offset != 0 ? header.backing_offset : header.geometry.cluster_bytes(),
        bytes.size());
    std::span<const std::byte> feature_names;
    for (std::uint64_t at = header.header_bytes; at + 8 <= end;) {
        const std::uint32_t type = field<std::uint32_t>(bytes, at);
        const std::uint32_t length = field<std::uint32_t>(bytes, at + 4);
        at += 8;
        if (type == extension_end) break;
        if (length > end || at > end - length) return failure("Header extension too large");
        TRY(parse_one(header, type, bytes.subspan(at, length), feature_names));
        at += round_up(length, 8);
    }
    if (const std::uint64_t unknown = header.incompatible & ~handled_incompatible; unknown != 0)
        return failure("Unsupported qcow2 feature(s): " +
                           unsupported_features(header, feature_names),
                       Errno::not_supported);
    TRY(check_limits(header));
    if (header.backing_offset != 0) {
        if (header.backing_bytes >
            std::min<std::uint64_t>(backing_name_bytes_max,
                                    header.geometry.cluster_bytes() - header.backing_offset))
            return failure("Backing file name too long");
        if (header.backing_offset + header.backing_bytes > bytes.size())
            return failure("Could not read backing file name");
        header.backing_file.assign(
            reinterpret_cast<const char*>(bytes.data()) + header.backing_offset,
            header.backing_bytes);
        header.backing_file.resize(std::strlen(header.backing_file.c_str()));
    }
    return {};
}

namespace {

void append_extension(std::vector<std::byte>& out, std::uint32_t type,
                      std::span<const std::byte> data) {
    const std::size_t at = out.size();
    out.resize(at + 8 + round_up(data.size(), 8));
    write_be<std::uint32_t>(out.data() + at, type);
    write_be<std::uint32_t>(out.data() + at + 4, static_cast<std::uint32_t>(data.size()));
    std::copy(data.begin(), data.end(), out.begin() + static_cast<std::ptrdiff_t>(at) + 8);
}

std::vector<std::byte> feature_name_table() {
    std::vector<std::byte> table(std::size(known_features) * feature_bytes);
    std::byte* at = table.data();
    for (const FeatureName& feature : known_features) {
        at[0] = static_cast<std::byte>(feature.kind);
        at[1] = static_cast<std::byte>(feature.bit);
        std::memcpy(at + 2, feature.name, std::strlen(feature.name));
        at += feature_bytes;
    }
    return table;
}

void write_fixed_part(const Header& header, std::byte* out) {
    write_be<std::uint32_t>(out, magic);
    write_be<std::uint32_t>(out + 4, header.version);
    write_be<std::uint64_t>(out + 8, header.backing_offset);
    write_be<std::uint32_t>(out + 16, header.backing_bytes);
    write_be<std::uint32_t>(out + 20, header.geometry.cluster_bits);
    write_be<std::uint64_t>(out + header_at_size, header.size);
    write_be<std::uint32_t>(out + 32, header.encryption);
    write_be<std::uint32_t>(out + header_at_l1, header.l1_entries);
    write_be<std::uint64_t>(out + 40, header.l1_offset);
    write_be<std::uint64_t>(out + header_at_refcounts, header.refcount_table_offset);
    write_be<std::uint32_t>(out + 56, header.refcount_table_clusters);
    write_be<std::uint32_t>(out + header_at_snapshots, header.snapshot_count);
    write_be<std::uint64_t>(out + 64, header.snapshots_offset);
    if (header.version == 2) return;
    write_be<std::uint64_t>(out + header_at_incompatible, header.incompatible);
    write_be<std::uint64_t>(out + 80, header.compatible);
    write_be<std::uint64_t>(out + header_at_autoclear, header.autoclear);
    write_be<std::uint32_t>(out + 96, header.geometry.refcount_order);
    write_be<std::uint32_t>(out + 100, header.header_bytes);
    out[header_bytes_v3] = static_cast<std::byte>(header.compression);
}

}  // namespace

IoResult<std::vector<std::byte>> serialise_header(Header& header) {
    const std::uint64_t cluster_bytes = header.geometry.cluster_bytes();
    header.header_bytes =
        header.version == 2
            ? header_bytes_v2
            : static_cast<std::uint32_t>(header_bytes_written + header.unknown_fields.size());
    std::vector<std::byte> out(header.header_bytes);
    if (header.version > 2)
        std::copy(header.unknown_fields.begin(), header.unknown_fields.end(),
                  out.begin() + header_bytes_written);
    if (!header.backing_format.empty())
        append_extension(out, extension_backing_format,
                         std::as_bytes(std::span(header.backing_format)));
    if (header.version > 2 && cluster_bytes > feature_names_room)
        append_extension(out, extension_feature_names, feature_name_table());
    if (header.has_bitmaps) {
        std::byte data[24] = {};
        write_be<std::uint32_t>(data, header.bitmaps.count);
        write_be<std::uint64_t>(data + 8, header.bitmaps.directory_bytes);
        write_be<std::uint64_t>(data + 16, header.bitmaps.directory_offset);
        append_extension(out, extension_bitmaps, data);
    }
    for (const Extension& extension : header.extensions)
        append_extension(out, extension.type, extension.data);
    out.resize(out.size() + 8);  // extension_end
    header.backing_offset = 0;
    header.backing_bytes = static_cast<std::uint32_t>(header.backing_file.size());
    if (!header.backing_file.empty()) {
        header.backing_offset = out.size();
        const auto name = std::as_bytes(std::span(header.backing_file));
        out.insert(out.end(), name.begin(), name.end());
    }
    if (out.size() > cluster_bytes) return Unexpected(Errno::no_space);
    write_fixed_part(header, out.data());
    return out;
}

}  // namespace blocklayer::qcow2
