// SPDX-License-Identifier: Apache-2.0
// Opening an image's metadata, writing it back, and the marks in the header that say what is up.
#include <algorithm>

#include "blocklayer/drivers/formats/qcow2/image.hpp"
#include "sim/check.hpp"

namespace blocklayer::qcow2 {
namespace {

std::string with_errno(std::string_view text, Errno error) {
    return fmt::format("{}: {}", text, sim::errno_text(error));
}

}  // namespace

Status Image::load_header(sim::Co& co, Edge& file) {
    file_ = &file;
    const std::uint64_t file_length = file.child().length();
    std::vector<std::byte> bytes(std::min<std::uint64_t>(file_length, header_bytes_written));
    IoStatus got = read_metadata(co, 0, std::span<std::byte>(bytes));
    if (!got) return failure(with_errno("Could not read qcow2 header", got.error()), got.error());
    header = TRY(parse_header(bytes));
    bytes.resize(std::min(file_length, extensions_end(header)));
    got = read_metadata(co, 0, std::span<std::byte>(bytes));
    if (!got) return failure(with_errno("Could not read qcow2 header", got.error()), got.error());
    return parse_extensions(header, bytes);
}

Status Image::load_tables(sim::Co& co, const Settings& wanted) {
    settings = wanted;
    l2_cache.configure(wanted.l2_table_bytes, wanted.l2_tables);
    refcount_cache.configure(geometry().cluster_bytes(), wanted.refcount_tables);

    auto active = read_table(co, header.l1_offset, header.l1_entries);
    if (!active)
        return failure(with_errno("Could not read L1 table", active.error()), active.error());
    l1 = std::move(*active);
    auto counts =
        read_table(co, header.refcount_table_offset,
                   std::uint64_t{header.refcount_table_clusters} * geometry().cluster_bytes() / 8);
    if (!counts)
        return failure(with_errno("Could not initialize refcount handling", counts.error()),
                       counts.error());
    refcount_table = std::move(*counts);
    metadata.clear();
    TRY(load_snapshots(co));

    const std::uint32_t bits = geometry().cluster_bits;
    metadata.add(0, 1, MetadataKind::header);
    metadata.add(header.l1_offset >> bits, geometry().clusters_for(l1.size() * 8),
                 MetadataKind::active_l1);
    metadata.add(header.refcount_table_offset >> bits, header.refcount_table_clusters,
                 MetadataKind::refcount_table);
    for (const std::uint64_t entry : l1)
        if (const std::uint64_t offset = entry & entry_offset_mask; offset != 0)
            metadata.add(offset >> bits, 1, MetadataKind::active_l2);
    for (const std::uint64_t entry : refcount_table)
        if (const std::uint64_t offset = entry & refcount_table_offset_mask; offset != 0)
            metadata.add(offset >> bits, 1, MetadataKind::refcount_block);
    if (const IoStatus mapped = map_snapshots(co); !mapped)
        return failure(with_errno("Could not read snapshots", mapped.error()), mapped.error());
    if (header.has_bitmaps && header.bitmaps.directory_bytes != 0)
        metadata.add(header.bitmaps.directory_offset >> bits,
                     geometry().clusters_for(header.bitmaps.directory_bytes),
                     MetadataKind::bitmap_directory);
    return {};
}

IoStatus Image::write_caches(sim::Co& co) {
    EXPECTS(mutex.held());
    if (broken_) return Unexpected(Errno::no_medium);
    TRY(l2_cache.write_back(co));
    if (accurate_refcounts()) TRY(refcount_cache.write_back(co));
    return {};
}

IoStatus Image::write_through(sim::Co& co) {
    const std::uint64_t serial = free_serial_;
    TRY(write_caches(co));
    TRY(file_->flush(co));
    stable_serial_ = serial;
    return {};
}

IoStatus Image::flush(sim::Co& co) {
    std::uint64_t serial = free_serial_;
    if (l2_cache.any_dirty() || refcount_cache.any_dirty() || !freed_.empty()) {
        const sim::MutexLock lock(co, mutex);
        serial = free_serial_;
        TRY(write_caches(co));
    }
    TRY(file_->flush(co));
    stable_serial_ = std::max(stable_serial_, serial);
    if (discards_wait_) {
        const sim::MutexLock lock(co, mutex);
        release_freed(co);
    }
    return {};
}

IoStatus Image::settle(sim::Co& co) {
    if (broken_) return Unexpected(Errno::no_medium);
    const sim::MutexLock lock(co, mutex);
    TRY(l2_cache.write_back(co));
    TRY(refcount_cache.write_back(co));
    const std::uint64_t serial = free_serial_;
    TRY(file_->flush(co));
    stable_serial_ = serial;
    if (discards_wait_) release_freed(co);
    if (!header.dirty()) return {};
    header.incompatible &= ~std::uint64_t{incompatible_dirty};
    std::byte bytes[8];
    write_be(bytes, header.incompatible);
    TRY(write_metadata(co, header_at_incompatible, std::span<const std::byte>(bytes),
                       MetadataKind::header));
    return file_->flush(co);
}

// Until settle() the refcounts on disk may be wrong.
IoStatus Image::mark_dirty(sim::Co& co) {
    EXPECTS(header.version > 2);
    std::byte bytes[8];
    write_be(bytes, header.incompatible | incompatible_dirty);
    TRY(write_metadata(co, header_at_incompatible, std::span<const std::byte>(bytes),
                       MetadataKind::header));
    TRY(file_->flush(co));
    header.incompatible |= incompatible_dirty;
    return {};
}

IoStatus Image::prepare_first_change(sim::Co& co) {
    if (broken_) return Unexpected(Errno::no_medium);
    const sim::MutexLock lock(co, mutex);
    if (header.version > 2 && header.autoclear != 0) {
        // What these bits vouch for (bitmaps, above all) will not be kept true.
        const std::byte zeroes[8] = {};
        TRY(write_metadata(co, header_at_autoclear, std::span<const std::byte>(zeroes),
                           MetadataKind::header));
        TRY(file_->flush(co));
        header.autoclear = 0;
    }
    change_prepared_ = true;
    return {};
}

IoStatus Image::apply_settings(sim::Co& co, const Settings& wanted) {
    const sim::MutexLock lock(co, mutex);
    TRY(l2_cache.write_back(co));
    TRY(refcount_cache.write_back(co));
    // The tables may come from another file from now on.
    l2_cache.configure(wanted.l2_table_bytes, wanted.l2_tables);
    refcount_cache.configure(geometry().cluster_bytes(), wanted.refcount_tables);
    settings = wanted;
    return {};
}

IoStatus Image::write_header(sim::Co& co) {
    Header written = header;
    const std::vector<std::byte> bytes = TRY(serialise_header(written));
    // Nothing of a longer header may stay behind.
    std::vector<std::byte> cluster(geometry().cluster_bytes());
    std::copy(bytes.begin(), bytes.end(), cluster.begin());
    TRY(write_metadata(co, 0, std::span<const std::byte>(cluster), MetadataKind::header));
    header = std::move(written);
    return {};
}

}  // namespace blocklayer::qcow2
