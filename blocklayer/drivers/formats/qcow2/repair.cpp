// SPDX-License-Identifier: Apache-2.0
// Repairing refcounts: single numbers in place, or all of them anew at the end of the file.
#include <algorithm>

#include "blocklayer/drivers/formats/qcow2/check.hpp"

namespace blocklayer::qcow2 {

IoStatus Checker::set_count(sim::Co& co, std::uint64_t cluster, std::uint64_t value) {
    const Geometry& g = image_.geometry();
    if (value > g.refcount_max()) return Unexpected(Errno::invalid);
    // A block made on the way lies in a cluster that nobody uses, so not in one counted here.
    image_.free_hint_ = std::max<std::uint64_t>(image_.free_hint_, counts_.size());
    MetadataCache::Table* block = value == 0 ? TRY(image_.refcount_block(co, cluster))
                                             : TRY(image_.writable_refcount_block(co, cluster));
    if (block == nullptr) return {};
    set_refcount(block->bytes(), cluster & (g.refcounts_per_block() - 1), g.refcount_order, value);
    image_.refcount_cache.mark_dirty(*block);
    return {};
}

// A new refcount table with new blocks behind everything else, from the counts. The old structures
// are free then: only the header, which is switched last, had referred to them.
IoStatus Checker::rebuild_refcounts(sim::Co& co) {
    const Geometry& g = image_.geometry();
    const std::uint64_t per_block = g.refcounts_per_block(), per_cluster = g.cluster_bytes() / 8;
    say("Rebuilding refcount structure");
    // The old structures go, wherever they say they are: nothing guards them any more, and the
    // references they hold do not count.
    image_.metadata.remove_all(MetadataKind::refcount_table);
    image_.metadata.remove_all(MetadataKind::refcount_block);
    const std::vector<std::uint64_t> old_table = image_.refcount_table;
    const auto uncount = [&](std::uint64_t offset, std::uint64_t clusters) {
        for (std::uint64_t i = 0; i < clusters; ++i) {
            const std::uint64_t cluster = (offset >> g.cluster_bits) + i;
            if (cluster < counts_.size() && counts_[cluster] > 0) --counts_[cluster];
        }
    };
    uncount(image_.header.refcount_table_offset, image_.header.refcount_table_clusters);
    for (const std::uint64_t entry : old_table)
        if (const std::uint64_t offset = entry & refcount_table_offset_mask;
            offset != 0 && g.aligned(offset))
            uncount(offset, 1);

    const std::uint64_t start = counts_.size();
    std::uint64_t blocks = 0, table_clusters = 0;
    for (;;) {
        const std::uint64_t new_blocks = divide_up(start + blocks + table_clusters, per_block);
        const std::uint64_t new_table = divide_up(new_blocks, per_cluster);
        if (new_blocks == blocks && new_table == table_clusters) break;
        blocks = new_blocks;
        table_clusters = new_table;
    }
    if (table_clusters * g.cluster_bytes() > refcount_table_bytes_max)
        return Unexpected(Errno::too_big);
    counts_.resize(start + blocks + table_clusters);
    std::fill(counts_.begin() + static_cast<std::ptrdiff_t>(start), counts_.end(), 1);

    std::vector<std::uint64_t> table(table_clusters * per_cluster);
    std::vector<std::byte> block(g.cluster_bytes());
    for (std::uint64_t i = 0; i < blocks; ++i) {
        std::fill(block.begin(), block.end(), std::byte{0});
        for (std::uint64_t j = 0; j < per_block && i * per_block + j < counts_.size(); ++j)
            set_refcount(block.data(), j, g.refcount_order,
                         std::min<std::uint64_t>(counts_[i * per_block + j], g.refcount_max()));
        table[i] = (start + i) << g.cluster_bits;
        TRY(image_.write_metadata(co, table[i], std::span<const std::byte>(block),
                                  MetadataKind::refcount_block));
    }
    const std::uint64_t table_offset = (start + blocks) << g.cluster_bits;
    TRY(image_.write_table(co, table_offset, table, MetadataKind::refcount_table));
    TRY(image_.file().flush(co));
    std::byte fields[12];
    write_be(fields, table_offset);
    write_be(fields + 8, static_cast<std::uint32_t>(table_clusters));
    TRY(image_.write_metadata(co, header_at_refcounts, std::span<const std::byte>(fields),
                              MetadataKind::header));
    TRY(image_.file().flush(co));

    image_.refcount_cache.forget_all();
    image_.metadata.add(start, blocks, MetadataKind::refcount_block);
    image_.metadata.add(start + blocks, table_clusters, MetadataKind::refcount_table);
    image_.header.refcount_table_offset = table_offset;
    image_.header.refcount_table_clusters = static_cast<std::uint32_t>(table_clusters);
    image_.refcount_table = std::move(table);
    image_.free_hint_ = 0;
    return {};
}

// A repaired image may be used again.
IoStatus Checker::clear_corrupt_mark(sim::Co& co) {
    Header& header = image_.header;
    if (result_.corruptions != 0 || result_.check_errors != 0 || header.version < 3) return {};
    const std::uint64_t marks = incompatible_corrupt | incompatible_dirty;
    if ((header.incompatible & marks) == 0) return {};
    std::byte bytes[8];
    write_be(bytes, header.incompatible & ~marks);
    TRY(image_.write_metadata(co, header_at_incompatible, std::span<const std::byte>(bytes),
                              MetadataKind::header));
    TRY(image_.file().flush(co));
    header.incompatible &= ~marks;
    return {};
}

}  // namespace blocklayer::qcow2
