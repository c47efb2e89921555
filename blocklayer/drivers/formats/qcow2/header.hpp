// SPDX-License-Identifier: Apache-2.0
// Header: the first cluster of an image, as numbers and back.
//
// Nothing here does I/O. Extensions this program does not know are kept and written back.
// source  docs/interop/qcow2.txt, "Header" and "Header extensions"; texts as observed
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "blocklayer/drivers/formats/qcow2/format.hpp"
#include "blocklayer/errors.hpp"

namespace blocklayer::qcow2 {

struct Extension {
    std::uint32_t type = 0;
    std::vector<std::byte> data;
};

struct BitmapsExtension {
    std::uint32_t count = 0;
    std::uint64_t directory_bytes = 0;
    std::uint64_t directory_offset = 0;
};

struct Header {
    std::uint32_t version = 3;
    std::uint64_t backing_offset = 0;
    std::uint32_t backing_bytes = 0;
    Geometry geometry;
    std::uint64_t size = 0;
    std::uint32_t encryption = 0;
    std::uint32_t l1_entries = 0;
    std::uint64_t l1_offset = 0;
    std::uint64_t refcount_table_offset = 0;
    std::uint32_t refcount_table_clusters = 0;
    std::uint32_t snapshot_count = 0;
    std::uint64_t snapshots_offset = 0;
    std::uint64_t incompatible = 0, compatible = 0, autoclear = 0;
    std::uint32_t header_bytes = header_bytes_written;
    Compression compression = Compression::zlib;
    std::vector<std::byte> unknown_fields;  // beyond what this program knows

    std::string backing_file, backing_format;
    bool has_backing_format = false;
    bool has_bitmaps = false;
    BitmapsExtension bitmaps;
    bool has_feature_names = false;
    std::vector<Extension> extensions;  // unknown ones, in their order

    bool dirty() const { return (incompatible & incompatible_dirty) != 0; }
    bool corrupt() const { return (incompatible & incompatible_corrupt) != 0; }
    bool lazy_refcounts() const { return (compatible & compatible_lazy_refcounts) != 0; }
};

// Offsets of fields that are rewritten on their own.
constexpr std::uint64_t header_at_size = 24, header_at_l1 = 36, header_at_refcounts = 48,
                        header_at_snapshots = 60, header_at_incompatible = 72,
                        header_at_autoclear = 88;

// The fixed part: at least the first header_bytes_written bytes of the file, or all of it.
// Every size and offset in the result is within the implementation's limits.
Result<Header> parse_header(std::span<const std::byte> bytes);
// How many bytes parse_extensions needs to see.
std::uint64_t extensions_end(const Header& header);
// The extensions and the backing file name; `bytes` begins at the start of the file.
Status parse_extensions(Header& header, std::span<const std::byte> bytes);
// The first cluster, or as much of it as is used. errors: no_space: it does not fit.
IoResult<std::vector<std::byte>> serialise_header(Header& header);

}  // namespace blocklayer::qcow2
