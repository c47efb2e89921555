// SPDX-License-Identifier: Apache-2.0
#include "blocklayer/drivers/formats/qcow2/settings.hpp"

#include <algorithm>
#include <array>
#include <bit>

namespace blocklayer::qcow2 {
namespace {

constexpr std::uint64_t l2_cache_bytes_max = 32ull << 20;
constexpr std::uint64_t l2_table_bytes_default = 4096;
constexpr std::uint64_t l2_tables_min = 2, refcount_tables_min = 4;
constexpr std::uint64_t tables_max = 1ull << 24;  // more would serve no image

// In the order of MetadataKind.
constexpr std::array<const char*, metadata_kinds> overlap_names = {
    "main-header",   "active-l1",      "active-l2",   "refcount-table",  "refcount-block",
    "snapshot-table", "inactive-l1",    "inactive-l2", "bitmap-directory"};

constexpr KindMask overlap_constant = mask_of(MetadataKind::header) |
                                      mask_of(MetadataKind::active_l1) |
                                      mask_of(MetadataKind::refcount_table) |
                                      mask_of(MetadataKind::snapshot_table) |
                                      mask_of(MetadataKind::bitmap_directory);
constexpr KindMask overlap_cached = overlap_constant | mask_of(MetadataKind::active_l2) |
                                    mask_of(MetadataKind::refcount_block) |
                                    mask_of(MetadataKind::inactive_l1);
constexpr KindMask overlap_all = overlap_cached | mask_of(MetadataKind::inactive_l2);

KindMask template_mask(std::string_view name) {
    if (name == "none") return 0;
    if (name == "constant") return overlap_constant;
    if (name == "all") return overlap_all;
    return overlap_cached;
}

KindMask read_overlap_check(const Value& options) {
    const Value* given = options.find("overlap-check");
    if (given == nullptr) return overlap_cached;
    if (given->is_string()) return template_mask(given->as_string());
    KindMask mask = template_mask(given->get_string("template", "cached"));
    for (unsigned i = 0; i < metadata_kinds; ++i) {
        const Value* one = given->find(overlap_names[i]);
        if (one == nullptr) continue;
        const auto bit = static_cast<KindMask>(1u << i);
        mask = static_cast<KindMask>(one->as_bool() ? mask | bit : mask & ~bit);
    }
    return mask;
}

Result<std::uint64_t> read_bytes(const Value& options, std::string_view name,
                                 std::uint64_t fallback) {
    const Value* given = options.find(name);
    if (given == nullptr) return fallback;
    if (given->is_int() && given->as_int() < 0)
        return failure(
            fmt::format("Parameter '{}' expects a non-negative number below 2^64", name));
    return given->as_uint();
}

struct CacheBytes {
    std::uint64_t l2, refcount;
};

Result<CacheBytes> read_cache_bytes(const Value& options, const Geometry& geometry,
                                    std::uint64_t disk_bytes, const LayerLimits& limits) {
    const bool has_l2 = options.has("l2-cache-size");
    const bool has_refcount = options.has("refcount-cache-size");
    const std::uint64_t l2_default =
        limits.qcow2_l2_cache_bytes != 0 ? limits.qcow2_l2_cache_bytes : l2_cache_bytes_max;
    const std::uint64_t refcount_min = refcount_tables_min * geometry.cluster_bytes();
    // No more than it takes to map the whole disk.
    const std::uint64_t l2_useful = std::max<std::uint64_t>(
        round_up(geometry.clusters_for(disk_bytes) * 8, geometry.cluster_bytes()),
        geometry.cluster_bytes());
    CacheBytes bytes{TRY(read_bytes(options, "l2-cache-size", l2_default)),
                     TRY(read_bytes(options, "refcount-cache-size",
                                    limits.qcow2_refcount_cache_bytes))};
    if (options.has("cache-size")) {
        const std::uint64_t all = TRY(read_bytes(options, "cache-size", 0));
        if (has_l2 && has_refcount)
            return failure("cache-size, l2-cache-size and refcount-cache-size may not be set at "
                           "the same time");
        if (has_l2 && bytes.l2 > all) return failure("l2-cache-size may not exceed cache-size");
        if (has_refcount && bytes.refcount > all)
            return failure("refcount-cache-size may not exceed cache-size");
        if (has_l2) {
            bytes.refcount = all - bytes.l2;
        } else if (has_refcount) {
            bytes.l2 = all - bytes.refcount;
        } else if (all > refcount_min && all - refcount_min > l2_useful) {
            bytes = {l2_useful, all - l2_useful};
        } else {
            bytes.refcount = std::min(all, refcount_min);
            bytes.l2 = all - bytes.refcount;
        }
    }
    bytes.l2 = std::min(bytes.l2, l2_useful);
    return bytes;
}

}  // namespace

Result<Settings> read_settings(const Value& options, const Header& header,
                               const NodeFlags& flags, const LayerLimits& limits) {
    Settings settings;
    const Geometry& geometry = header.geometry;
    const CacheBytes bytes = TRY(read_cache_bytes(options, geometry, header.size, limits));
    const std::uint64_t l2_table_bytes =
        TRY(read_bytes(options, "l2-cache-entry-size",
                       std::min(geometry.cluster_bytes(), l2_table_bytes_default)));
    if (l2_table_bytes < sector_bytes || l2_table_bytes > geometry.cluster_bytes() ||
        !std::has_single_bit(l2_table_bytes))
        return failure(fmt::format("L2 cache entry size must be a power of two between 512 and "
                                   "the cluster size ({})", geometry.cluster_bytes()));
    settings.l2_table_bytes = l2_table_bytes;
    settings.l2_tables = std::clamp(bytes.l2 / l2_table_bytes, l2_tables_min, tables_max);
    settings.refcount_tables =
        std::clamp(bytes.refcount / geometry.cluster_bytes(), refcount_tables_min, tables_max);
    if (TRY(read_bytes(options, "cache-clean-interval", 0)) > UINT32_MAX)
        return failure("Cache clean interval too big");

    settings.lazy_refcounts = options.get_bool("lazy-refcounts", header.lazy_refcounts());
    if (settings.lazy_refcounts && header.version < 3)
        return failure("Lazy refcounts require a qcow2 image with at least qemu 1.1 "
                       "compatibility level");
    settings.discard_request = options.get_bool("pass-discard-request", flags.discard_unmap);
    settings.discard_snapshot = options.get_bool("pass-discard-snapshot", true);
    settings.discard_other = options.get_bool("pass-discard-other", false);
    settings.overlap_check = read_overlap_check(options);
    if (const Value* encrypt = options.find("encrypt"))
        return failure(fmt::format("No encryption in image header, but options specified "
                                   "format '{}'", encrypt->get_string("format")));
    return settings;
}

}  // namespace blocklayer::qcow2
