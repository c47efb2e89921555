// SPDX-License-Identifier: Apache-2.0
// Refcounts: which host clusters are in use, and how often; taking new ones and giving them back.
#include <algorithm>

#include "blocklayer/drivers/formats/qcow2/image.hpp"
#include "sim/check.hpp"
#include "sim/mutant.hpp"

namespace blocklayer::qcow2 {
namespace {
constexpr std::size_t freed_ranges_max = 1024;  // then the image is flushed to reuse them
}

IoResult<MetadataCache::Table*> Image::refcount_block(sim::Co& co, std::uint64_t cluster) {
    const std::uint64_t index = cluster >> geometry().refcount_block_bits();
    MetadataCache::Table* none = nullptr;
    if (index >= refcount_table.size()) return none;
    const std::uint64_t offset = refcount_table[index] & refcount_table_offset_mask;
    if (offset == 0) return none;
    if (!geometry().aligned(offset))
        return corruption(co, fmt::format("Refblock offset {:#x} unaligned (reftable index: "
                                          "{})",
                                          offset, hex_text(index)));
    return refcount_cache.get(co, offset);
}

IoResult<std::uint64_t> Image::refcount(sim::Co& co, std::uint64_t cluster) {
    MetadataCache::Table* block = TRY(refcount_block(co, cluster));
    if (block == nullptr) return 0;
    return get_refcount(block->bytes(), cluster & (geometry().refcounts_per_block() - 1),
                        geometry().refcount_order);
}

IoResult<MetadataCache::Table*> Image::writable_refcount_block(sim::Co& co, std::uint64_t cluster) {
    MetadataCache::Table* block = TRY(refcount_block(co, cluster));
    if (block != nullptr) return block;
    TRY(add_refcount_block(co, cluster >> geometry().refcount_block_bits()));
    block = TRY(refcount_block(co, cluster));
    if (block == nullptr) return Unexpected(Errno::io);
    return block;
}

// The block lies in a free cluster, which it may itself describe. It is on stable storage before
// the refcount table refers to it.
IoStatus Image::add_refcount_block(sim::Co& co, std::uint64_t table_index) {
    if (table_index >= refcount_table.size()) TRY(grow_refcount_table(co, table_index + 1));
    if (refcount_table[table_index] != 0) return {};
    const std::uint64_t cluster = TRY(find_free(co, 1));
    const bool describes_itself = cluster >> geometry().refcount_block_bits() == table_index;
    if (!describes_itself) {
        TRY(change_refcount(co, cluster, true));
        if (refcount_table[table_index] != 0)  // made on the way: this one was not needed
            return change_refcount(co, cluster, false);
    }
    const std::uint64_t offset = cluster << geometry().cluster_bits;
    TRY(check_overlap(co, offset, geometry().cluster_bytes()));
    MetadataCache::Table* block = TRY(refcount_cache.get_empty(co, offset));
    std::memset(block->bytes(), 0, refcount_cache.table_bytes());
    if (describes_itself)
        set_refcount(block->bytes(), cluster & (geometry().refcounts_per_block() - 1),
                     geometry().refcount_order, 1);
    refcount_cache.mark_dirty(*block);
    IoStatus done;
    if (!sim::mutant<"qcow2: a refcount block is used before it is written">())
        done = refcount_cache.flush(co);
    if (done) {
        std::byte entry[8];
        write_be(entry, offset);
        refcount_table[table_index] = offset;
        done = write_metadata(co, header.refcount_table_offset + table_index * 8,
                              std::span<const std::byte>(entry), MetadataKind::refcount_table);
    }
    if (!done) {
        refcount_table[table_index] = 0;
        // The cluster may become somebody else's: nothing may write this block any more.
        refcount_cache.forget(offset, geometry().cluster_bytes());
        return done;
    }
    metadata.add(cluster, 1, MetadataKind::refcount_block);
    return {};
}

// A longer table behind everything in use, together with the blocks that describe the new area.
// All of it is written before the header refers to it.
IoStatus Image::grow_refcount_table(sim::Co& co, std::uint64_t entries) {
    const Geometry& g = geometry();
    const std::uint64_t per_cluster = g.cluster_bytes() / 8;
    const std::uint64_t old_entries = refcount_table.size();
    const std::uint64_t start = std::max(old_entries << g.refcount_block_bits(), free_hint_);
    const std::uint64_t first_block = start >> g.refcount_block_bits();
    std::uint64_t wanted = std::max(entries, old_entries + old_entries / 2 + 1);
    std::uint64_t table_clusters = 0, blocks = 0;
    for (;;) {  // until the new area is described by the new blocks
        const std::uint64_t new_table = divide_up(wanted, per_cluster);
        const std::uint64_t end = start + new_table + blocks;
        const std::uint64_t new_blocks = ((end - 1) >> g.refcount_block_bits()) - first_block + 1;
        wanted = std::max(wanted, first_block + new_blocks);
        if (new_table == table_clusters && new_blocks == blocks) break;
        table_clusters = new_table;
        blocks = new_blocks;
    }
    if (table_clusters * g.cluster_bytes() > refcount_table_bytes_max)
        return Unexpected(Errno::too_big);
    const std::uint64_t end = start + table_clusters + blocks;
    if (end > host_offset_end >> g.cluster_bits) return Unexpected(Errno::too_big);

    std::vector<std::uint64_t> table = refcount_table;
    table.resize(table_clusters * per_cluster);
    std::vector<std::byte> area(blocks * g.cluster_bytes());
    for (std::uint64_t i = 0; i < blocks; ++i)
        table[first_block + i] = (start + table_clusters + i) << g.cluster_bits;
    for (std::uint64_t cluster = start; cluster < end; ++cluster) {
        const std::uint64_t block = (cluster >> g.refcount_block_bits()) - first_block;
        set_refcount(area.data() + block * g.cluster_bytes(),
                     cluster & (g.refcounts_per_block() - 1), g.refcount_order, 1);
    }
    const std::uint64_t table_offset = start << g.cluster_bits;
    TRY(write_metadata(co, (start + table_clusters) << g.cluster_bits,
                       std::span<const std::byte>(area), MetadataKind::refcount_block));
    TRY(write_table(co, table_offset, table, MetadataKind::refcount_table));
    TRY(file_->flush(co));
    std::byte fields[12];
    write_be(fields, table_offset);
    write_be(fields + 8, static_cast<std::uint32_t>(table_clusters));
    TRY(write_metadata(co, header_at_refcounts, std::span<const std::byte>(fields),
                       MetadataKind::header));
    TRY(file_->flush(co));

    const std::uint64_t old_offset = header.refcount_table_offset;
    metadata.remove(old_offset >> g.cluster_bits, header.refcount_table_clusters,
                    MetadataKind::refcount_table);
    metadata.add(start, table_clusters, MetadataKind::refcount_table);
    metadata.add(start + table_clusters, blocks, MetadataKind::refcount_block);
    const std::uint64_t old_bytes =
        std::uint64_t{header.refcount_table_clusters} * g.cluster_bytes();
    header.refcount_table_offset = table_offset;
    header.refcount_table_clusters = static_cast<std::uint32_t>(table_clusters);
    refcount_table = std::move(table);
    free_hint_ = std::max(free_hint_, end);
    return drop_references(co, old_offset, old_bytes, FreeReason::other);
}

IoStatus Image::change_refcount(sim::Co& co, std::uint64_t cluster, bool up, bool discard) {
    MetadataCache::Table* block =
        up ? TRY(writable_refcount_block(co, cluster)) : TRY(refcount_block(co, cluster));
    if (block == nullptr) return Unexpected(Errno::invalid);
    const std::uint64_t index = cluster & (geometry().refcounts_per_block() - 1);
    const std::uint64_t count = get_refcount(block->bytes(), index, geometry().refcount_order);
    if (count == (up ? geometry().refcount_max() : 0)) return Unexpected(Errno::invalid);
    set_refcount(block->bytes(), index, geometry().refcount_order, up ? count + 1 : count - 1);
    if (!sim::mutant<"qcow2: changed refcounts are not dirty">()) refcount_cache.mark_dirty(*block);
    if (!up && count == 1) {
        add_freed(cluster, discard);
        if (free_byte_offset_ >> geometry().cluster_bits == cluster) free_byte_offset_ = 0;
    }
    return {};
}

IoStatus Image::add_references(sim::Co& co, std::uint64_t offset, std::uint64_t length) {
    EXPECTS(length > 0);
    const std::uint64_t first = offset >> geometry().cluster_bits;
    const std::uint64_t last = (offset + length - 1) >> geometry().cluster_bits;
    for (std::uint64_t cluster = first; cluster <= last; ++cluster) {
        const IoStatus counted = change_refcount(co, cluster, true);
        if (counted) continue;
        while (cluster > first)
            static_cast<void>(change_refcount(co, --cluster, false).has_value());
        return counted;
    }
    return {};
}

IoStatus Image::drop_references(sim::Co& co, std::uint64_t offset, std::uint64_t length,
                                FreeReason reason) {
    if (length == 0) return {};
    if (accurate_refcounts() && !sim::mutant<"qcow2: clusters are free before L2 says so">())
        TRY(refcount_cache.depend_on(co, l2_cache));
    const std::uint64_t first = offset >> geometry().cluster_bits;
    const std::uint64_t last = (offset + length - 1) >> geometry().cluster_bits;
    const bool pass_on = reason == FreeReason::request    ? settings.discard_request
                         : reason == FreeReason::snapshot ? settings.discard_snapshot
                         : reason == FreeReason::resize   ? true
                                                          : settings.discard_other;
    for (std::uint64_t cluster = first; cluster <= last; ++cluster)
        TRY(change_refcount(co, cluster, false, pass_on));
    return {};
}

void Image::free_entry(sim::Co& co, std::uint64_t entry, FreeReason reason) {
    std::uint64_t offset = entry & entry_offset_mask, length = geometry().cluster_bytes();
    switch (kind_of(entry)) {
    case EntryKind::unallocated:
    case EntryKind::zero_plain: return;
    case EntryKind::compressed: {
        const CompressedExtent extent = compressed_extent(geometry(), entry);
        offset = extent.offset;
        length = extent.bytes;
        break;
    }
    case EntryKind::zero_allocated:
    case EntryKind::normal:
        if (!geometry().aligned(offset)) return;  // damaged: repairing is another's business
        break;
    }
    static_cast<void>(drop_references(co, offset, length, reason).has_value());
}

// ---- freed clusters ----

void Image::add_freed(std::uint64_t cluster, bool discard) {
    ++free_serial_;
    discards_wait_ |= discard;
    auto next = freed_.upper_bound(cluster);
    if (next != freed_.begin()) {
        auto before = std::prev(next);
        if (before->first + before->second.count == cluster &&
            before->second.discard == discard) {
            ++before->second.count;
            before->second.serial = free_serial_;
            return;
        }
    }
    freed_[cluster] = {1, free_serial_, discard};
}

bool Image::is_freed(std::uint64_t cluster) const {
    if (freed_.empty()) return false;
    auto next = freed_.upper_bound(cluster);
    if (next == freed_.begin()) return false;
    --next;
    return cluster - next->first < next->second.count;
}

// Lets clusters be used again that nothing on stable storage refers to any more. The host is
// offered them first: were it earlier, a power cut could bring back an entry whose data is gone.
void Image::release_freed(sim::Co& co) {
    EXPECTS(mutex.held());
    std::uint64_t until = stable_serial_;
    if (first_request_ != nullptr &&
        !sim::mutant<"qcow2: freed clusters do not wait for readers">())
        until = std::min(until, first_request_->serial_);
    std::uint64_t at = 0;
    bool left = false;
    for (auto it = freed_.begin(); it != freed_.end(); it = freed_.lower_bound(at)) {
        const auto [first, freed] = *it;
        at = first + 1;
        if (freed.serial > until) {
            left |= freed.discard;
            continue;
        }
        if (freed.discard)  // it may decline
            static_cast<void>(file_->discard(co, first << geometry().cluster_bits,
                                             freed.count << geometry().cluster_bits)
                                  .has_value());
        free_hint_ = std::min(free_hint_, first);
        freed_.erase(first);
    }
    discards_wait_ = left;
}

// ---- allocation ----

// So many free clusters in a row; nobody else is given them. units: clusters
IoResult<std::uint64_t> Image::find_free(sim::Co& co, std::uint64_t clusters) {
    const std::uint64_t end = host_offset_end >> geometry().cluster_bits;
    std::uint64_t first = free_hint_, run = 0;
    while (run < clusters) {
        const std::uint64_t cluster = first + run;
        if (cluster >= end) return Unexpected(Errno::too_big);
        if ((is_freed(cluster) && !sim::mutant<"qcow2: freed clusters are taken at once">()) ||
            TRY(refcount(co, cluster)) != 0) {
            first = cluster + 1;
            run = 0;
        } else {
            ++run;
        }
    }
    free_hint_ = first + clusters;
    return first;
}

IoResult<std::uint64_t> Image::allocate_clusters(sim::Co& co, std::uint64_t bytes) {
    if (!freed_.empty()) {
        if (freed_.size() > freed_ranges_max) TRY(write_through(co));
        release_freed(co);
    }
    const std::uint64_t clusters = geometry().clusters_for(bytes);
    const std::uint64_t first = TRY(find_free(co, clusters));
    const std::uint64_t offset = first << geometry().cluster_bits;
    TRY(add_references(co, offset, bytes));
    // A "free" cluster that holds metadata: the refcounts are wrong.
    TRY(check_overlap(co, offset, clusters << geometry().cluster_bits));
    return offset;
}

IoResult<std::uint64_t> Image::allocate_at(sim::Co& co, std::uint64_t offset,
                                           std::uint64_t clusters) {
    const std::uint64_t first = offset >> geometry().cluster_bits;
    const std::uint64_t end = host_offset_end >> geometry().cluster_bits;
    std::uint64_t count = 0;
    while (count < clusters && first + count < end && !is_freed(first + count) &&
           TRY(refcount(co, first + count)) == 0)
        ++count;
    if (count == 0) return 0;
    free_hint_ = std::max(free_hint_, first + count);  // a new refcount block must not land here
    const std::uint64_t bytes = count << geometry().cluster_bits;
    TRY(add_references(co, offset, bytes));
    TRY(check_overlap(co, offset, bytes));
    return count;
}

// Room for compressed data, which shares clusters with other such data.
IoResult<std::uint64_t> Image::allocate_bytes(sim::Co& co, std::uint64_t bytes) {
    EXPECTS(bytes > 0 && bytes <= geometry().cluster_bytes());
    const std::uint64_t cluster_bytes = geometry().cluster_bytes();
    std::uint64_t offset = free_byte_offset_;
    if (offset != 0 &&
        TRY(refcount(co, offset >> geometry().cluster_bits)) == geometry().refcount_max())
        offset = 0;
    const std::uint64_t room =
        offset == 0 ? 0 : cluster_bytes - geometry().offset_in_cluster(offset);
    if (room < bytes) {
        // The next cluster may happen to be free: then the data goes across.
        const std::uint64_t next =
            offset == 0 ? 0
                        : TRY(allocate_at(co, geometry().cluster_start(offset) + cluster_bytes, 1));
        if (next == 0) {
            offset = TRY(allocate_clusters(co, cluster_bytes));
            free_byte_offset_ = offset + bytes;
            if (geometry().aligned(free_byte_offset_)) free_byte_offset_ = 0;
            return offset;
        }
        const IoStatus counted = add_references(co, offset, 1);
        if (!counted) {
            static_cast<void>(drop_references(co, geometry().cluster_start(offset) + cluster_bytes,
                                              cluster_bytes, FreeReason::other)
                                  .has_value());
            return Unexpected(counted.error());
        }
    } else {
        TRY(add_references(co, offset, bytes));
    }
    free_byte_offset_ = offset + bytes;
    if (geometry().aligned(free_byte_offset_)) free_byte_offset_ = 0;
    return offset;
}

// Blocks that count nothing but themselves are not needed. What they counted before is on stable
// storage as free already.
IoStatus Image::drop_empty_refcount_blocks(sim::Co& co) {
    const Geometry& g = geometry();
    for (std::uint64_t index = refcount_table.size(); index-- > 0;) {
        const std::uint64_t offset = refcount_table[index] & refcount_table_offset_mask;
        if (offset == 0 || !g.aligned(offset)) continue;
        MetadataCache::Table* block = TRY(refcount_cache.get(co, offset));
        const std::uint64_t own = offset >> g.cluster_bits;
        const std::uint64_t first = index << g.refcount_block_bits();
        bool empty = true, counts_itself = false;
        for (std::uint64_t i = 0; i < g.refcounts_per_block() && empty; ++i) {
            const std::uint64_t count = get_refcount(block->bytes(), i, g.refcount_order);
            counts_itself |= first + i == own;
            empty = count == (first + i == own ? 1 : 0);
        }
        if (!empty) continue;
        const std::byte nothing[8] = {};
        TRY(write_metadata(co, header.refcount_table_offset + index * 8,
                           std::span<const std::byte>(nothing), MetadataKind::refcount_table));
        TRY(file_->flush(co));
        refcount_table[index] = 0;
        refcount_cache.forget(offset, g.cluster_bytes());
        metadata.remove(own, 1, MetadataKind::refcount_block);
        if (!counts_itself)
            TRY(drop_references(co, offset, g.cluster_bytes(), FreeReason::other));
    }
    return {};
}

IoResult<std::uint64_t> Image::end_cluster(sim::Co& co) {
    for (std::uint64_t index = refcount_table.size(); index-- > 0;) {
        if (refcount_table[index] == 0) continue;
        const std::uint64_t first = index << geometry().refcount_block_bits();
        MetadataCache::Table* block = TRY(refcount_block(co, first));
        if (block == nullptr) continue;
        for (std::uint64_t i = geometry().refcounts_per_block(); i-- > 0;)
            if (get_refcount(block->bytes(), i, geometry().refcount_order) != 0)
                return first + i + 1;
    }
    return 0;
}

}  // namespace blocklayer::qcow2
