// SPDX-License-Identifier: Apache-2.0
// Changing the disk's length, and reserving clusters ahead of time.
#include <algorithm>

#include "blocklayer/drivers/formats/qcow2/image.hpp"
#include "sim/mutant.hpp"

namespace blocklayer::qcow2 {
namespace {

Status failed(std::string_view what, Errno error) {
    return failure(fmt::format("{}: {}", what, sim::errno_text(error)), error);
}

}  // namespace

Status Image::truncate(sim::Co& co, std::uint64_t size, std::string_view preallocation) {
    if (broken_) return failure("No medium inserted", Errno::no_medium);
    const std::uint64_t old_size = header.size;
    if (preallocation != "off" && size < old_size)
        return failure("Preallocation can only be used for growing images", Errno::not_supported);
    if (size % sector_bytes != 0) return failure("The new size must be a multiple of 512");
    if (!snapshots.empty() && header.version < 3)
        return failure("Can't resize a v2 image which has snapshots", Errno::not_supported);
    if (const IoStatus ready = prepare_change(co); !ready)
        return failed("Failed to update the image size", ready.error());

    if (size < old_size) {
        const std::uint64_t first = geometry().clusters_for(size) * geometry().cluster_bytes();
        const std::uint64_t end = geometry().clusters_for(old_size) * geometry().cluster_bytes();
        if (first < end)
            // Tables are made where there are none, as for a discard that a guest asks for.
            if (const IoStatus freed = forget_range(co, first, end - first, true); !freed)
                return failed("Failed to discard cropped clusters", freed.error());
        TRY(drop_l2_tables(co, size));
    } else {
        const sim::MutexLock lock(co, mutex);
        if (const IoStatus grown = grow_l1(co, geometry().l1_entries_for(size)); !grown)
            return failed("Failed to grow the L1 table", grown.error());
    }

    // A backing file that is longer must not show in what is new.
    if (size > old_size && backing_covers(old_size) &&
        !sim::mutant<"resize: a longer backing file shows through">()) {
        const std::uint64_t covered = std::min(size, backing()->child().length());
        TRY(hide_backing(co, old_size, covered - old_size));
    }
    if (size > old_size && preallocation != "off")
        TRY(preallocate(co, old_size, size - old_size, preallocation));

    const sim::MutexLock lock(co, mutex);
    // What hides the backing file must be there before the disk is long enough to show it.
    IoStatus done = write_through(co);
    std::byte field[8];
    write_be(field, size);
    if (done)
        done = write_metadata(co, header_at_size, std::span<const std::byte>(field),
                              MetadataKind::header);
    if (done) done = file_->flush(co);
    if (!done) return failed("Failed to update the image size", done.error());
    header.size = size;
    if (size < old_size) return shrink_file(co);
    return {};
}

// What lies past the end of a shorter disk needs no L2 tables.
Status Image::drop_l2_tables(sim::Co& co, std::uint64_t size) {
    const sim::MutexLock lock(co, mutex);
    for (std::uint64_t i = geometry().l1_entries_for(size); i < l1.size(); ++i) {
        const std::uint64_t entry = l1[i], offset = entry & entry_offset_mask;
        if (entry == 0) continue;
        l1[i] = 0;
        IoStatus done = write_l1_entry(co, i);
        if (done) done = file_->flush(co);
        if (!done) {
            l1[i] = entry;
            return failed("Failed to reduce the number of L2 tables", done.error());
        }
        if (offset == 0 || !geometry().aligned(offset)) continue;
        metadata.remove(offset >> geometry().cluster_bits, 1, MetadataKind::active_l2);
        l2_cache.forget(offset, geometry().cluster_bytes());
        static_cast<void>(drop_references(co, offset, geometry().cluster_bytes(),
                                          FreeReason::resize).has_value());
    }
    return {};
}

// The image file ends where its last cluster in use does. A failure only wastes room.
Status Image::shrink_file(sim::Co& co) {
    if (!write_through(co)) return {};
    if (!drop_empty_refcount_blocks(co)) return {};
    const IoResult<std::uint64_t> clusters = end_cluster(co);
    if (!clusters) return failed("Failed to find the last cluster", clusters.error());
    if (!write_through(co)) return {};
    const std::uint64_t end = *clusters << geometry().cluster_bits;
    if (end < file_->child().length())
        static_cast<void>(file_->truncate(co, end, false, "off").has_value());
    return {};
}

// Zeroes over a part of the backing file that the disk did not reach before. The end of the disk
// is still the old one.
Status Image::hide_backing(sim::Co& co, std::uint64_t offset, std::uint64_t length) {
    const std::uint64_t end = offset + length;
    const std::uint64_t whole = geometry().clusters_for(offset) * geometry().cluster_bytes();
    IoStatus done;
    if (const std::uint64_t head = std::min(whole, end) - offset; head > 0) {
        const std::vector<std::byte> zeroes(head);
        done = write(co, offset, std::span<const std::byte>(zeroes), {});
    }
    if (done && whole < end) {
        if (header.version < 3)
            done = Unexpected(Errno::not_supported);
        else
            done = write_zeroes(co, whole, geometry().clusters_for(end - whole) *
                                               geometry().cluster_bytes(),
                                RequestFlag::may_unmap);
    }
    if (!done) return failed("Failed to zero out new clusters", done.error());
    return {};
}

// Clusters for a range, at the end of the file, where they read as zeroes.
Status Image::preallocate(sim::Co& co, std::uint64_t offset, std::uint64_t length,
                          std::string_view mode) {
    const std::uint64_t cluster_bytes = geometry().cluster_bytes();
    const sim::MutexLock lock(co, mutex);
    const IoResult<std::uint64_t> end = end_cluster(co);
    if (!end) return failed("Could not preallocate metadata", end.error());
    free_hint_ = std::max({free_hint_, *end,
                           geometry().clusters_for(file_->child().length())});
    const std::uint64_t last = geometry().clusters_for(offset + length) * cluster_bytes;
    std::uint64_t file_end = 0;
    for (std::uint64_t at = geometry().cluster_start(offset); at < last;) {
        const IoResult<Slice> slice = slice_for_write(co, at);
        if (!slice) return failed("Could not preallocate metadata", slice.error());
        const std::uint64_t limit = std::min(slice->entries, (last - at) / cluster_bytes);
        std::uint64_t count = 0;
        while (count < limit && kind_of(slice->get(count)) == EntryKind::unallocated) ++count;
        if (count == 0) {
            at += cluster_bytes;
            continue;
        }
        const IoResult<std::uint64_t> host = allocate_clusters(co, count * cluster_bytes);
        if (!host) return failed("Could not preallocate metadata", host.error());
        const IoResult<std::uint64_t> linked = link_entries(co, at, *host, count);
        if (!linked) return failed("Could not preallocate metadata", linked.error());
        file_end = *host + count * cluster_bytes;
        at += count * cluster_bytes;
    }
    if (file_end > file_->child().length())
        TRY(file_->truncate(co, file_end, false, mode == "metadata" ? "off" : mode));
    return {};
}

}  // namespace blocklayer::qcow2
