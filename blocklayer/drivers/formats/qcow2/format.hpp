// SPDX-License-Identifier: Apache-2.0
// The qcow2 format: numbers that lie in images, and how to read and write them.
//
//   cluster 0   header, header extensions, backing file name
//   refcount table -> refcount blocks      how often each host cluster is referred to
//   L1 table -> L2 tables -> clusters      where each guest cluster lies
//   snapshot table -> further L1 tables    older states of the disk
//
// units   bytes; all numbers in an image are big endian
// source  docs/interop/qcow2.txt of the reference (the public specification)
#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace blocklayer::qcow2 {

constexpr std::uint32_t magic = 0x514649fb;
constexpr std::uint32_t header_bytes_v2 = 72, header_bytes_v3 = 104, header_bytes_written = 112;
constexpr std::uint32_t cluster_bits_min = 9, cluster_bits_max = 21;
constexpr std::uint64_t sector_bytes = 512;

// Limits of the implementation, the reference's own.
constexpr std::uint64_t l1_bytes_max = 32ull << 20;
constexpr std::uint64_t refcount_table_bytes_max = 8ull << 20;
constexpr std::uint32_t snapshots_max = 65536;
constexpr std::uint64_t snapshot_table_bytes_max = 1024ull * snapshots_max;
constexpr std::uint32_t snapshot_extra_bytes_max = 1024;
constexpr std::uint64_t snapshot_l1_clusters_max = 1ull << 22;  // of all snapshots together
constexpr std::uint32_t backing_name_bytes_max = 1023;
constexpr std::uint64_t bitmap_directory_bytes_max = 1024ull * 65535;
constexpr std::uint64_t host_offset_end = 1ull << 56;  // L1 and L2 entries hold 56 bits

enum Incompatible : std::uint64_t {
    incompatible_dirty = 1 << 0,
    incompatible_corrupt = 1 << 1,
    incompatible_data_file = 1 << 2,
    incompatible_compression = 1 << 3,
    incompatible_extended_l2 = 1 << 4,
};
constexpr std::uint64_t compatible_lazy_refcounts = 1 << 0;
constexpr std::uint64_t autoclear_bitmaps = 1 << 0;

enum ExtensionType : std::uint32_t {
    extension_end = 0,
    extension_backing_format = 0xe2792aca,
    extension_feature_names = 0x6803f857,
    extension_bitmaps = 0x23852875,
    extension_encryption = 0x0537be77,
    extension_data_file = 0x44415441,
};

enum class Compression : std::uint8_t { zlib = 0, zstd = 1 };

// L1 and L2 entries.
constexpr std::uint64_t entry_copied = 1ull << 63;  // refcount is exactly one
constexpr std::uint64_t entry_compressed = 1ull << 62;
constexpr std::uint64_t entry_zero = 1;  // reads as zeroes
constexpr std::uint64_t entry_offset_mask = 0x00fffffffffffe00;
constexpr std::uint64_t l1_reserved_mask = 0x7f000000000001ff;
constexpr std::uint64_t l2_reserved_mask = 0x3f000000000001fe;
constexpr std::uint64_t refcount_table_offset_mask = ~std::uint64_t{0x1ff};

template <class T>
T read_be(const std::byte* from) {
    T value;
    std::memcpy(&value, from, sizeof value);
    if constexpr (sizeof(T) == 2) return __builtin_bswap16(value);
    if constexpr (sizeof(T) == 4) return __builtin_bswap32(value);
    if constexpr (sizeof(T) == 8) return __builtin_bswap64(value);
    return value;
}

template <class T>
void write_be(std::byte* to, T value) {
    if constexpr (sizeof(T) == 2) value = __builtin_bswap16(value);
    if constexpr (sizeof(T) == 4) value = __builtin_bswap32(value);
    if constexpr (sizeof(T) == 8) value = __builtin_bswap64(value);
    std::memcpy(to, &value, sizeof value);
}

constexpr std::uint64_t round_up(std::uint64_t n, std::uint64_t unit) {
    return (n + unit - 1) / unit * unit;
}
constexpr std::uint64_t divide_up(std::uint64_t n, std::uint64_t unit) {
    return n / unit + (n % unit != 0 ? 1 : 0);
}

// What one cluster size and refcount width mean for everything else.
struct Geometry {
    std::uint32_t cluster_bits = 16;
    std::uint32_t refcount_order = 4;

    std::uint64_t cluster_bytes() const { return 1ull << cluster_bits; }
    std::uint64_t offset_in_cluster(std::uint64_t offset) const {
        return offset & (cluster_bytes() - 1);
    }
    std::uint64_t cluster_start(std::uint64_t offset) const {
        return offset & ~(cluster_bytes() - 1);
    }
    bool aligned(std::uint64_t offset) const { return offset_in_cluster(offset) == 0; }
    std::uint64_t clusters_for(std::uint64_t bytes) const {
        return divide_up(bytes, cluster_bytes());
    }
    std::uint32_t l2_entries_bits() const { return cluster_bits - 3; }
    std::uint64_t l2_entries() const { return 1ull << l2_entries_bits(); }
    std::uint32_t l1_shift() const { return cluster_bits + l2_entries_bits(); }
    std::uint64_t bytes_per_l2() const { return 1ull << l1_shift(); }
    std::uint64_t l1_entries_for(std::uint64_t size) const {
        return divide_up(size, bytes_per_l2());
    }
    std::uint32_t refcount_block_bits() const { return cluster_bits + 3 - refcount_order; }
    std::uint64_t refcounts_per_block() const { return 1ull << refcount_block_bits(); }
    std::uint64_t refcount_max() const {
        return refcount_order == 6 ? ~0ull : (1ull << (1u << refcount_order)) - 1;
    }
    // Compressed cluster descriptors.
    std::uint32_t compressed_shift() const { return 62 - (cluster_bits - 8); }
    std::uint64_t compressed_offset_mask() const { return (1ull << compressed_shift()) - 1; }
};

// Where a compressed cluster's data lies: whole sectors, the first of which may begin earlier.
struct CompressedExtent {
    std::uint64_t offset, bytes;
};
inline CompressedExtent compressed_extent(const Geometry& geometry, std::uint64_t entry) {
    const std::uint64_t offset = entry & geometry.compressed_offset_mask() & (host_offset_end - 1);
    const std::uint64_t sectors =
        ((entry & ~(entry_compressed | entry_copied)) >> geometry.compressed_shift()) + 1;
    return {offset, sectors * sector_bytes - offset % sector_bytes};
}

// One number of a refcount block.
std::uint64_t get_refcount(const std::byte* block, std::uint64_t index, std::uint32_t order);
void set_refcount(std::byte* block, std::uint64_t index, std::uint32_t order, std::uint64_t value);

}  // namespace blocklayer::qcow2
