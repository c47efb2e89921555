// SPDX-License-Identifier: Apache-2.0
// Zeroes and discards: changes of L2 entries only.
#include <algorithm>

#include "blocklayer/drivers/formats/qcow2/image.hpp"
#include "sim/check.hpp"
#include "sim/mutant.hpp"

namespace blocklayer::qcow2 {
namespace {

// What an entry becomes. Giving the same entry back means: leave it.
std::uint64_t to_zero_keeping(const Image&, std::uint64_t entry) {
    switch (kind_of(entry)) {
    case EntryKind::unallocated:
    case EntryKind::compressed: return entry_zero;
    default: return entry | entry_zero;
    }
}

std::uint64_t to_zero_unmapping(const Image&, std::uint64_t) { return entry_zero; }
std::uint64_t to_nothing(const Image&, std::uint64_t) { return 0; }

std::uint64_t to_discarded(const Image& image, std::uint64_t entry) {
    if (kind_of(entry) == EntryKind::zero_plain) return entry;
    if (kind_of(entry) == EntryKind::unallocated && image.backing() == nullptr) return entry;
    return image.header.version > 2 ? entry_zero : 0;
}

}  // namespace

// Replaces the entries of whole clusters. The references an entry held are dropped only after it
// has been replaced: meanwhile the refcounts' cache may have to write the L2 tables.
IoStatus Image::change_entries(sim::Co& co, std::uint64_t offset, std::uint64_t length,
                               FreeReason reason, bool make_tables,
                               std::uint64_t (*change)(const Image&, std::uint64_t entry)) {
    const std::uint64_t cluster_bytes = geometry().cluster_bytes();
    const std::uint64_t end = geometry().clusters_for(offset + length) * cluster_bytes;
    EXPECTS(geometry().aligned(offset) && mutex.held());
    if (!sim::mutant<"qcow2: discards do not wait for allocations">())
        wait_for_allocations(co, offset, end);
    if (broken_) return Unexpected(Errno::no_medium);
    std::vector<std::uint64_t> replaced;
    while (offset < end) {
        const std::optional<Slice> present = TRY(slice_for_read(co, offset));
        if (!present && !make_tables) {
            offset = (offset / geometry().bytes_per_l2() + 1) * geometry().bytes_per_l2();
            continue;
        }
        const std::uint64_t here =
            std::min((end - offset) / cluster_bytes, entries_in_slice(offset));
        bool changes = !present;
        for (std::uint64_t i = 0; present && i < here && !changes; ++i)
            changes = change(*this, present->get(i)) != present->get(i);
        if (changes) {
            const Slice slice = TRY(slice_for_write(co, offset));
            replaced.clear();
            if (sim::mutant<"S07">()) {
                l2_cache.mark_dirty(*slice.table);
                for (std::uint64_t i = 0; i < here; ++i)
                    if (const std::uint64_t old = slice.get(i); change(*this, old) == entry_zero)
                        free_entry(co, old, reason);
            }
            for (std::uint64_t i = 0; i < here; ++i) {
                const std::uint64_t old = slice.get(i), entry = change(*this, old);
                if (entry == old) continue;
                slice.set(i, entry);
                const bool keeps = (old & entry_offset_mask) == (entry & entry_offset_mask) &&
                                   kind_of(old) != EntryKind::compressed;
                if (!keeps && !sim::mutant<"S07">()) replaced.push_back(old);
            }
            if (!sim::mutant<"S07">() && !sim::mutant<"qcow2: zeroed entries are not dirty">())
                l2_cache.mark_dirty(*slice.table);
            for (const std::uint64_t old : replaced) free_entry(co, old, reason);
        }
        offset += here * cluster_bytes;
    }
    return {};
}

IoStatus Image::write_zeroes(sim::Co& co, std::uint64_t offset, std::uint64_t length,
                             RequestFlags flags) {
    TRY(prepare_change(co));
    const std::uint64_t begin = geometry().cluster_start(offset);
    const std::uint64_t end = offset + length;
    const std::uint64_t whole_end = geometry().clusters_for(end) * geometry().cluster_bytes();
    const sim::MutexLock lock(co, mutex);
    if (!sim::mutant<"qcow2: zeroing does not wait for allocations">())
        wait_for_allocations(co, begin, whole_end);
    if (broken_) return Unexpected(Errno::no_medium);

    // A cluster of which only a part is to be zeroes can become zero if the rest is already.
    const auto reads_zero = [&](std::uint64_t at) -> IoResult<bool> {
        const std::optional<Slice> slice = TRY(slice_for_read(co, at));
        const EntryKind kind = slice ? kind_of(slice->get(0)) : EntryKind::unallocated;
        if (kind == EntryKind::unallocated) return !backing_covers(geometry().cluster_start(at));
        return kind == EntryKind::zero_plain || kind == EntryKind::zero_allocated;
    };
    if (begin != offset && !sim::mutant<"qcow2: zeroing takes whole clusters">() &&
        !TRY(reads_zero(offset)))
        return Unexpected(Errno::not_supported);
    if (whole_end != end && end < size() && !TRY(reads_zero(end - 1)))
        return Unexpected(Errno::not_supported);

    if (header.version == 2) {
        if (backing() != nullptr) return Unexpected(Errno::not_supported);
        return change_entries(co, begin, whole_end - begin, FreeReason::request, true,
                              to_discarded);
    }
    return change_entries(co, begin, whole_end - begin, FreeReason::request, true,
                          flags.has(RequestFlag::may_unmap) ? to_zero_unmapping : to_zero_keeping);
}

IoStatus Image::discard(sim::Co& co, std::uint64_t offset, std::uint64_t length) {
    // Without zero clusters the backing file's old data would come back.
    if (header.version == 2 && backing() != nullptr) return Unexpected(Errno::not_supported);
    TRY(prepare_change(co));
    const std::uint64_t cluster_bytes = geometry().cluster_bytes();
    const std::uint64_t begin = sim::mutant<"qcow2: discards begin too early">()
                                    ? geometry().cluster_start(offset)
                                    : geometry().clusters_for(offset) * cluster_bytes;
    const std::uint64_t end = offset + length >= size()
                                  ? geometry().clusters_for(size()) * cluster_bytes
                                  : geometry().cluster_start(offset + length);
    if (begin >= end) return Unexpected(Errno::not_supported);
    const sim::MutexLock lock(co, mutex);
    return change_entries(co, begin, end - begin, FreeReason::request, /*make_tables=*/true,
                          to_discarded);
}

IoStatus Image::forget_range(sim::Co& co, std::uint64_t offset, std::uint64_t length,
                             bool make_tables) {
    TRY(prepare_change(co));
    const sim::MutexLock lock(co, mutex);
    return change_entries(co, offset, length, FreeReason::snapshot, make_tables, to_nothing);
}

IoStatus Image::make_empty(sim::Co& co) {
    const std::uint64_t end = geometry().clusters_for(size()) * geometry().cluster_bytes();
    TRY(forget_range(co, 0, end, /*make_tables=*/false));
    return flush(co);
}

}  // namespace blocklayer::qcow2
