// SPDX-License-Identifier: Apache-2.0
#include "blocklayer/drivers/formats/qcow2/check.hpp"

#include <algorithm>

namespace blocklayer::qcow2 {
namespace {

constexpr std::uint64_t clusters_max = 1ull << 28;  // of a file that can be checked in memory

}  // namespace

bool Checker::count(std::uint64_t offset, std::uint64_t length) {
    if (length == 0) return true;
    const std::uint32_t bits = image_.geometry().cluster_bits;
    const std::uint64_t end = std::uint64_t{counts_.size()} << bits;
    if (offset > end || length > end - offset) {
        say(fmt::format("ERROR: counting reference for region exceeding the end of the file by "
                        "one cluster or more: offset {:#x} size {:#x}", offset, length));
        ++result_.corruptions;
        return false;
    }
    const std::uint64_t last = (offset + length - 1) >> bits;
    for (std::uint64_t cluster = offset >> bits; cluster <= last; ++cluster)
        if (counts_[cluster] != UINT32_MAX) ++counts_[cluster];
    return true;
}

void Checker::count_statistics(std::uint64_t entry) {
    const EntryKind kind = kind_of(entry);
    const std::uint64_t offset = entry & entry_offset_mask;
    switch (kind) {
    case EntryKind::unallocated:
    case EntryKind::zero_plain: return;
    case EntryKind::compressed:
        ++result_.allocated_clusters;
        ++result_.compressed_clusters;
        ++result_.fragmented_clusters;  // by their nature
        return;
    case EntryKind::normal:
    case EntryKind::zero_allocated:
        ++result_.allocated_clusters;
        if (next_contiguous_ != 0 && offset != next_contiguous_) ++result_.fragmented_clusters;
        next_contiguous_ = offset + image_.geometry().cluster_bytes();
        return;
    }
}

IoStatus Checker::count_l2(sim::Co& co, std::uint64_t l2_offset, Active active) {
    const Geometry& g = image_.geometry();
    const std::vector<std::uint64_t> table =
        TRY(image_.read_table(co, l2_offset, g.l2_entries()));
    for (std::uint64_t i = 0; i < table.size(); ++i) {
        const std::uint64_t entry = table[i], offset = entry & entry_offset_mask;
        if (entry == 0) continue;  // unallocated, as most are
        if (active == Active::yes) count_statistics(entry);
        if ((entry & entry_compressed) == 0 && (entry & l2_reserved_mask) != 0)
            damage(fmt::format("found l2 entry with reserved bits set: {:x}", entry));
        switch (kind_of(entry)) {
        case EntryKind::unallocated:
        case EntryKind::zero_plain: break;
        case EntryKind::compressed: {
            if ((entry & entry_copied) != 0)
                damage(fmt::format("coffset={:#x}: copied flag must never be set for compressed "
                                   "clusters", entry & entry_offset_mask), "ERROR: ");
            // The last sector may be cut off by the end of the file.
            const CompressedExtent extent = compressed_extent(g, entry);
            count(extent.offset, extent.bytes);
            break;
        }
        case EntryKind::normal:
        case EntryKind::zero_allocated:
            if (!g.aligned(offset)) {
                damage(fmt::format("offset={:x}: Cluster is not properly aligned; L2 entry "
                                   "corrupted.", offset));
                break;
            }
            count(offset, g.cluster_bytes());
            break;
        }
    }
    return {};
}

IoStatus Checker::count_l1(sim::Co& co, const std::vector<std::uint64_t>& l1, Active active) {
    const Geometry& g = image_.geometry();
    for (const std::uint64_t entry : l1) {
        const std::uint64_t offset = entry & entry_offset_mask;
        if (offset == 0) continue;
        if ((entry & l1_reserved_mask) != 0)
            damage(fmt::format("found L1 entry with reserved bits set: {:x}", entry));
        const bool inside = count(offset, g.cluster_bytes());
        if (!g.aligned(offset)) {
            damage(fmt::format("l2_offset={:x}: Table is not cluster aligned; L1 entry corrupted",
                               offset));
            continue;
        }
        if (inside) TRY(count_l2(co, offset, active));
    }
    return {};
}

IoStatus Checker::count_bitmaps(sim::Co& co) {
    const Header& header = image_.header;
    if (!header.has_bitmaps) return {};
    const Geometry& g = image_.geometry();
    if (!count(header.bitmaps.directory_offset, header.bitmaps.directory_bytes)) return {};
    std::vector<std::byte> directory(header.bitmaps.directory_bytes);
    TRY(image_.read_metadata(co, header.bitmaps.directory_offset,
                             std::span<std::byte>(directory)));
    std::uint64_t at = 0;
    for (std::uint32_t i = 0; i < header.bitmaps.count; ++i) {
        if (directory.size() < 24 || at > directory.size() - 24) {
            damage("bitmap directory is too short");
            return {};
        }
        const std::byte* entry = directory.data() + at;
        const std::uint64_t table_offset = read_be<std::uint64_t>(entry);
        const std::uint64_t entries = read_be<std::uint32_t>(entry + 8);
        const std::uint64_t names = std::uint64_t{read_be<std::uint16_t>(entry + 18)} +
                                    read_be<std::uint32_t>(entry + 20);
        at += round_up(24 + names, 8);
        if (!count(table_offset, entries * 8) || !g.aligned(table_offset)) {
            damage("bitmap table is not where one can be");
            continue;
        }
        for (const std::uint64_t data : TRY(image_.read_table(co, table_offset, entries)))
            if (const std::uint64_t offset = data & entry_offset_mask; offset != 0)
                count(offset, g.cluster_bytes());
    }
    return {};
}

void Checker::count_refcount_structures() {
    const Geometry& g = image_.geometry();
    const Header& header = image_.header;
    count(header.refcount_table_offset,
          std::uint64_t{header.refcount_table_clusters} * g.cluster_bytes());
    for (std::uint64_t i = 0; i < image_.refcount_table.size(); ++i) {
        if (image_.refcount_table[i] == 0) continue;
        const std::uint64_t offset = image_.refcount_table[i] & refcount_table_offset_mask;
        const std::uint64_t cluster = offset >> g.cluster_bits;
        if ((image_.refcount_table[i] & ~refcount_table_offset_mask) != 0) {
            damage(fmt::format("refcount table entry {} has reserved bits set", i));
            ++broken_structures_;
            continue;
        }
        if (offset == 0) continue;
        if (!g.aligned(offset)) {
            damage(fmt::format("refcount block {} is not cluster aligned; refcount table entry "
                               "corrupted", i));
            ++broken_structures_;
            continue;
        }
        if (cluster >= counts_.size()) {
            damage(fmt::format("refcount block {} is outside image", i));
            ++broken_structures_;
            continue;
        }
        count(offset, g.cluster_bytes());
        if (counts_[cluster] != 1) {
            damage(fmt::format("refcount block {} refcount={}", i, counts_[cluster]));
            ++broken_structures_;
        }
    }
}

IoStatus Checker::count_all(sim::Co& co) {
    const Geometry& g = image_.geometry();
    const Header& header = image_.header;
    count(0, g.cluster_bytes());
    count(header.l1_offset, image_.l1.size() * 8);
    TRY(count_l1(co, image_.l1, Active::yes));
    for (const Snapshot& snapshot : image_.snapshots) {
        if (!count(snapshot.l1_offset, std::uint64_t{snapshot.l1_entries} * 8)) continue;
        TRY(count_l1(co, TRY(image_.read_table(co, snapshot.l1_offset, snapshot.l1_entries)),
                     Active::no));
    }
    count(header.snapshots_offset, image_.snapshot_table_bytes);
    TRY(count_bitmaps(co));
    count_refcount_structures();
    return {};
}

IoStatus Checker::compare_one(sim::Co& co, std::uint64_t cluster) {
    const IoResult<std::uint64_t> counted = image_.refcount(co, cluster);
    if (!counted) {
        say(fmt::format("Can't get refcount for cluster {}: {}", cluster,
                        sim::errno_text(counted.error())));
        ++result_.check_errors;
        return {};
    }
    const std::uint64_t stored = *counted;
    const std::uint64_t actual = counts_[cluster];
    if (stored != 0 || actual != 0)
        result_.image_end_offset = (cluster + 1) << image_.geometry().cluster_bits;
    if (stored == actual) return {};
    const bool leak = stored > actual;
    const bool fix = fixes(leak ? Driver::Repair::leaks : Driver::Repair::errors);
    say(fmt::format("{} cluster {} refcount={} reference={}",
                    fix ? "Repairing" : leak ? "Leaked" : "ERROR", cluster, stored, actual));
    if (fix && set_count(co, cluster, actual)) {
        ++(leak ? result_.leaks_fixed : result_.corruptions_fixed);
        return {};
    }
    ++(leak ? result_.leaks : result_.corruptions);
    return {};
}

IoStatus Checker::compare(sim::Co& co) {
    for (std::uint64_t cluster = 0; cluster < counts_.size(); ++cluster)
        TRY(compare_one(co, cluster));
    return {};
}

// Bit 63 says "refcount is exactly one"; only the active tables keep it.
IoStatus Checker::check_copied_l2(sim::Co& co, std::uint64_t l1_index) {
    const Geometry& g = image_.geometry();
    const std::uint64_t l2_offset = image_.l1[l1_index] & entry_offset_mask;
    std::vector<std::uint64_t> table = TRY(image_.read_table(co, l2_offset, g.l2_entries()));
    bool changed = false;
    for (std::uint64_t& entry : table) {
        const EntryKind kind = kind_of(entry);
        if (kind != EntryKind::normal && kind != EntryKind::zero_allocated) continue;
        const std::uint64_t offset = entry & entry_offset_mask;
        if (!g.aligned(offset)) continue;
        const IoResult<std::uint64_t> stored = image_.refcount(co, offset >> g.cluster_bits);
        if (!stored) continue;
        const bool copied = (entry & entry_copied) != 0;
        if ((*stored == 1) == copied) continue;
        const bool fix = fixes(Driver::Repair::errors);
        say(fmt::format("{} OFLAG_COPIED data cluster: l2_entry={:x} refcount={}",
                        fix ? "Repairing" : "ERROR", entry, *stored));
        entry ^= entry_copied;
        changed = true;
        ++(fix ? result_.corruptions_fixed : result_.corruptions);
    }
    if (!changed || !fixes(Driver::Repair::errors)) return {};
    image_.l2_cache.forget(l2_offset, g.cluster_bytes());
    return image_.write_table(co, l2_offset, table, MetadataKind::active_l2);
}

IoStatus Checker::check_copied(sim::Co& co) {
    const Geometry& g = image_.geometry();
    for (std::uint64_t i = 0; i < image_.l1.size(); ++i) {
        const std::uint64_t entry = image_.l1[i], offset = entry & entry_offset_mask;
        if (offset == 0 || !g.aligned(offset)) continue;
        const IoResult<std::uint64_t> stored = image_.refcount(co, offset >> g.cluster_bits);
        if (stored && (*stored == 1) != ((entry & entry_copied) != 0)) {
            const bool fix = fixes(Driver::Repair::errors);
            say(fmt::format("{} OFLAG_COPIED L2 cluster: l1_index={} l1_entry={:x} refcount={}",
                            fix ? "Repairing" : "ERROR", i, entry, *stored));
            if (fix) {
                image_.l1[i] ^= entry_copied;
                TRY(image_.write_l1_entry(co, i));
            }
            ++(fix ? result_.corruptions_fixed : result_.corruptions);
        }
        TRY(check_copied_l2(co, i));
    }
    return {};
}

IoResult<Driver::CheckResult> Checker::run(sim::Co& co) {
    const sim::MutexLock lock(co, image_.mutex);
    if (image_.broken()) return Unexpected(Errno::no_medium);
    const Geometry& g = image_.geometry();
    // Tables are looked at in the file.
    if (image_.l2_cache.any_dirty() || image_.refcount_cache.any_dirty()) {
        TRY(image_.l2_cache.write_back(co));
        TRY(image_.refcount_cache.write_back(co));
    }
    const std::uint64_t clusters = g.clusters_for(image_.file().child().length());
    if (clusters > clusters_max) return Unexpected(Errno::no_memory);
    counts_.assign(clusters, 0);
    TRY(count_all(co));
    if (broken_structures_ > 0 && fixes(Driver::Repair::errors)) {
        TRY(rebuild_refcounts(co));
        Driver::CheckResult anew;
        anew.messages = std::move(result_.messages);
        anew.corruptions_fixed = broken_structures_;
        result_ = std::move(anew);
        next_contiguous_ = 0;
        counts_.assign(g.clusters_for(image_.file().child().length()), 0);
        TRY(count_all(co));
    }
    result_.total_clusters = g.clusters_for(image_.size());
    TRY(compare(co));
    TRY(check_copied(co));
    if (repair_ != Driver::Repair::none) {
        TRY(image_.l2_cache.write_back(co));
        TRY(image_.refcount_cache.write_back(co));
        TRY(image_.file().flush(co));
        TRY(clear_corrupt_mark(co));
    }
    return std::move(result_);
}

IoResult<Driver::CheckResult> Image::check(sim::Co& co, Driver::Repair repair) {
    return Checker(*this, repair).run(co);
}

}  // namespace blocklayer::qcow2
