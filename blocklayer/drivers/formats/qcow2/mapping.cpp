// SPDX-License-Identifier: Apache-2.0
// L1 and L2: where guest clusters lie.
#include <algorithm>

#include "blocklayer/drivers/formats/qcow2/image.hpp"
#include "blocklayer/requests/memory.hpp"
#include "sim/check.hpp"

namespace blocklayer::qcow2 {

std::uint64_t Image::slice_offset(std::uint64_t l2_offset, std::uint64_t offset) const {
    const std::uint64_t index = (offset >> geometry().cluster_bits) & (geometry().l2_entries() - 1);
    return l2_offset + (index * 8 & ~(l2_cache.table_bytes() - 1));
}

Image::Slice Image::slice_at(MetadataCache::Table& table, std::uint64_t offset) const {
    const std::uint64_t entries = l2_cache.table_bytes() / 8;
    const std::uint64_t index = (offset >> geometry().cluster_bits) & (entries - 1);
    return {&table, index, entries - index};
}

// How far the same kind goes on from here, within the slice.
Extent Image::extent_in(std::uint64_t offset, std::uint64_t length, const Slice& slice) const {
    const std::uint64_t cluster_bytes = geometry().cluster_bytes();
    const std::uint64_t in_cluster = geometry().offset_in_cluster(offset);
    Extent extent{.length = cluster_bytes - in_cluster, .entry = slice.get(0)};
    extent.kind = kind_of(extent.entry);
    extent.host = (extent.entry & entry_offset_mask) + in_cluster;
    if (extent.kind != EntryKind::compressed) {
        const bool mapped =
            extent.kind == EntryKind::normal || extent.kind == EntryKind::zero_allocated;
        const std::uint64_t step = mapped ? cluster_bytes : 0;
        std::uint64_t expected = extent.entry;
        for (std::uint64_t i = 1; extent.length < length && i < slice.entries; ++i) {
            expected += step;
            if (slice.get(i) != expected) break;
            extent.length += cluster_bytes;
        }
    }
    extent.length = std::min(extent.length, length);
    return extent;
}

bool Image::find_extent(std::uint64_t offset, std::uint64_t length, Extent& extent) {
    const std::uint64_t* l1_at = l1_entry(offset);
    const std::uint64_t l2_offset = l1_at != nullptr ? *l1_at & entry_offset_mask : 0;
    if (l2_offset == 0) {
        const std::uint64_t span = geometry().bytes_per_l2();
        extent = {.length = std::min(length, span - (offset & (span - 1)))};
        return true;
    }
    if (!geometry().aligned(l2_offset)) return false;
    MetadataCache::Table* table = l2_cache.find(slice_offset(l2_offset, offset));
    if (table == nullptr) return false;
    extent = extent_in(offset, length, slice_at(*table, offset));
    // Odd entries are looked at, and reported, with the mutex held.
    if (extent.kind == EntryKind::normal)
        return geometry().aligned(extent.entry & entry_offset_mask);
    return extent.kind == EntryKind::unallocated || header.version > 2;
}

IoStatus Image::check_entry(sim::Co& co, std::uint64_t entry, std::uint64_t offset) {
    const EntryKind kind = kind_of(entry);
    if (kind == EntryKind::compressed || kind == EntryKind::unallocated) return {};
    const std::uint64_t* l1_at = l1_entry(offset);
    INVARIANT(l1_at != nullptr);
    const auto place = [&] {
        const std::uint64_t index =
            (offset >> geometry().cluster_bits) & (geometry().l2_entries() - 1);
        return fmt::format("(L2 offset: {}, L2 index: {})", hex_text(*l1_at & entry_offset_mask),
                           hex_text(index));
    };
    if (kind != EntryKind::normal && header.version == 2)
        return corruption(co, "Zero cluster entry found in pre-v3 image " + place());
    const std::uint64_t host = entry & entry_offset_mask;
    if (geometry().aligned(host)) return {};
    return corruption(co, fmt::format("{} offset {:#x} unaligned {}",
                                      kind == EntryKind::normal
                                          ? "Cluster allocation"
                                          : "Preallocated zero cluster",
                                      host, place()));
}

IoResult<Extent> Image::extent(sim::Co& co, std::uint64_t offset, std::uint64_t length) {
    const sim::MutexLock lock(co, mutex);
    if (broken_) return Unexpected(Errno::no_medium);
    const std::optional<Slice> slice = TRY(slice_for_read(co, offset));
    if (!slice) {
        const std::uint64_t span = geometry().bytes_per_l2();
        return Extent{.length = std::min(length, span - (offset & (span - 1)))};
    }
    const Extent extent = extent_in(offset, length, *slice);
    TRY(check_entry(co, extent.entry, offset));
    return extent;
}

IoResult<std::optional<Image::Slice>> Image::slice_for_read(sim::Co& co, std::uint64_t offset) {
    const std::uint64_t* l1_at = l1_entry(offset);
    const std::uint64_t l2_offset = l1_at != nullptr ? *l1_at & entry_offset_mask : 0;
    if (l2_offset == 0) return std::optional<Slice>();
    if (!geometry().aligned(l2_offset))
        return corruption(co, fmt::format("L2 table offset {:#x} unaligned (L1 index: {})",
                                          l2_offset, hex_text(offset >> geometry().l1_shift())));
    MetadataCache::Table* table = TRY(l2_cache.get(co, slice_offset(l2_offset, offset)));
    return std::optional<Slice>(slice_at(*table, offset));
}

IoResult<Image::Slice> Image::slice_for_write(sim::Co& co, std::uint64_t offset) {
    const std::uint64_t* l1_at = l1_entry(offset);
    if (l1_at == nullptr) return Unexpected(Errno::io);
    if ((*l1_at & entry_copied) == 0 || (*l1_at & entry_offset_mask) == 0)
        TRY(make_l2_writable(co, offset >> geometry().l1_shift()));
    const std::optional<Slice> slice = TRY(slice_for_read(co, offset));
    if (!slice) return Unexpected(Errno::io);
    return *slice;
}

// A new table with the old one's entries, or with none, in memory.
IoStatus Image::fill_l2(sim::Co& co, std::uint64_t l2_offset, std::uint64_t old_offset) {
    TRY(memory_for(node_, "an L2 table"));
    std::vector<std::byte> contents(l2_cache.table_bytes());
    for (std::uint64_t at = 0; at < geometry().cluster_bytes(); at += l2_cache.table_bytes()) {
        if (old_offset != 0) {
            MetadataCache::Table* old = TRY(l2_cache.get(co, old_offset + at));
            std::memcpy(contents.data(), old->bytes(), contents.size());
        }
        MetadataCache::Table* table = TRY(l2_cache.get_empty(co, l2_offset + at));
        std::memcpy(table->bytes(), contents.data(), contents.size());
        l2_cache.mark_dirty(*table);
    }
    return {};
}

// After this the L1 entry points to a table that only it refers to. The table is on stable storage
// before the entry is written, and its refcount before the table.
IoStatus Image::make_l2_writable(sim::Co& co, std::uint64_t l1_index) {
    const std::uint64_t old_entry = l1[l1_index];
    const std::uint64_t old_offset = old_entry & entry_offset_mask;
    if (!geometry().aligned(old_offset))
        return corruption(co, fmt::format("L2 table offset {:#x} unaligned (L1 index: {})",
                                          old_offset, hex_text(l1_index)));
    const std::uint64_t bytes = geometry().cluster_bytes();
    const std::uint64_t offset = TRY(allocate_clusters(co, bytes));
    // In this order: a dependency that is set when the new table has been written already would
    // leave nothing behind that makes the flush see to it.
    IoStatus done = l2_cache.depend_on(co, refcount_cache);
    if (done) done = fill_l2(co, offset, old_offset);
    if (done) done = l2_cache.flush(co);
    if (done) {
        l1[l1_index] = offset | entry_copied;
        done = write_l1_entry(co, l1_index);
        if (!done) l1[l1_index] = old_entry;
    }
    if (!done) {
        l2_cache.forget(offset, bytes);
        static_cast<void>(drop_references(co, offset, bytes, FreeReason::other).has_value());
        return done;
    }
    metadata.add(offset >> geometry().cluster_bits, 1, MetadataKind::active_l2);
    if (old_offset != 0) {
        metadata.remove(old_offset >> geometry().cluster_bits, 1, MetadataKind::active_l2);
        l2_cache.forget(old_offset, bytes);
        static_cast<void>(drop_references(co, old_offset, bytes, FreeReason::other).has_value());
    }
    return {};
}

IoStatus Image::write_l1_entry(sim::Co& co, std::uint64_t index) {
    std::byte bytes[8];
    write_be(bytes, l1[index]);
    return write_metadata(co, header.l1_offset + index * 8, std::span<const std::byte>(bytes),
                          MetadataKind::active_l1);
}

// A longer active L1 table, in a new place.
IoStatus Image::grow_l1(sim::Co& co, std::uint64_t entries) {
    if (entries <= l1.size()) return {};
    const std::uint64_t bytes = entries * 8, old_bytes = l1.size() * 8;
    if (bytes > l1_bytes_max) return Unexpected(Errno::too_big);
    const std::uint64_t offset = TRY(allocate_clusters(co, bytes));
    std::vector<std::uint64_t> grown = l1;
    grown.resize(entries);
    IoStatus done = write_through(co);
    if (done) done = write_table(co, offset, grown, MetadataKind::active_l1);
    if (done) done = file_->flush(co);
    if (done) {
        std::byte fields[12];  // count and place change together
        write_be(fields, static_cast<std::uint32_t>(entries));
        write_be(fields + 4, offset);
        done = write_metadata(co, header_at_l1, std::span<const std::byte>(fields),
                              MetadataKind::header);
        if (done) done = file_->flush(co);
    }
    if (!done) {
        static_cast<void>(drop_references(co, offset, bytes, FreeReason::other).has_value());
        return done;
    }
    const std::uint64_t old_offset = header.l1_offset;
    const std::uint32_t bits = geometry().cluster_bits;
    metadata.remove(old_offset >> bits, geometry().clusters_for(old_bytes),
                    MetadataKind::active_l1);
    metadata.add(offset >> bits, geometry().clusters_for(bytes), MetadataKind::active_l1);
    header.l1_offset = offset;
    header.l1_entries = static_cast<std::uint32_t>(entries);
    l1 = std::move(grown);
    if (old_bytes != 0)
        static_cast<void>(
            drop_references(co, old_offset, old_bytes, FreeReason::other).has_value());
    stable_serial_ = free_serial_;  // the header refers to the old one no more
    return {};
}

}  // namespace blocklayer::qcow2
