// SPDX-License-Identifier: Apache-2.0
// Reading and writing guest data: overwriting in place, or allocating clusters and copying what the
// write does not cover.
//
// An allocating write goes in three steps: take clusters (mutex held), write data (not held), let
// the L2 entries point to them (held). Between the first and the last an Allocation stands for it.
#include <algorithm>

#include "blocklayer/drivers/formats/qcow2/image.hpp"
#include "blocklayer/requests/memory.hpp"
#include "sim/check.hpp"
#include "sim/mutant.hpp"

namespace blocklayer::qcow2 {

struct Image::NewClusters {
    std::uint64_t guest = 0;  // start of the first cluster
    std::uint64_t host = 0;
    std::uint64_t count = 0;
    bool reserved = false;  // they belong to the guest clusters already (preallocated zeroes)
};

// ---- in-flight allocations ----

Image::Allocation::Allocation(Image& image, std::uint64_t begin, std::uint64_t end)
    : image_(image), begin_(begin), end_(end), next_(image.first_allocation_) {
    if (next_ != nullptr) next_->previous_ = this;
    image_.first_allocation_ = this;
}

Image::Allocation::~Allocation() {
    (previous_ != nullptr ? previous_->next_ : image_.first_allocation_) = next_;
    if (next_ != nullptr) next_->previous_ = previous_;
    // Also when the allocation failed: somebody else has to try then.
    if (!(failed && sim::mutant<"S10">())) finished.wake_all();
}

Image::Allocation* Image::overlapping(std::uint64_t begin, std::uint64_t end) const {
    for (Allocation* each = first_allocation_; each != nullptr; each = each->next_)
        if (begin < each->end_ && each->begin_ < end) return each;
    return nullptr;
}

void Image::wait_for_allocations(sim::Co& co, std::uint64_t begin, std::uint64_t end) {
    while (Allocation* other = overlapping(begin, end)) {
        mutex.unlock();
        other->finished.wait(co);
        mutex.lock(co);
    }
}

// ---- reading ----

bool Image::backing_covers(std::uint64_t offset) const {
    return backing() != nullptr && offset < backing()->child().length();
}

IoStatus Image::read_backing(sim::Co& co, std::uint64_t offset, sim::IoView into,
                             RequestFlags flags) {
    if (!backing_covers(offset)) {
        into.fill(std::byte{0});
        return {};
    }
    const std::size_t there =
        std::min<std::uint64_t>(into.size(), backing()->child().length() - offset);
    into.sub(there, into.size() - there).fill(std::byte{0});
    return backing()->read(co, offset, into.sub(0, there), flags);
}

IoStatus Image::read_extent(sim::Co& co, const Extent& extent, std::uint64_t offset,
                            sim::IoView into, RequestFlags flags) {
    flags = flags & RequestFlag::inconsistent_ok;
    switch (extent.kind) {
    case EntryKind::normal: return file_->read(co, extent.host, into, flags);
    case EntryKind::unallocated: return read_backing(co, offset, into, flags);
    case EntryKind::compressed:
        return read_compressed(co, extent.entry, geometry().offset_in_cluster(offset), into, flags);
    case EntryKind::zero_plain:
    case EntryKind::zero_allocated: into.fill(std::byte{0}); return {};
    }
    return Unexpected(Errno::io);
}

IoStatus Image::read(sim::Co& co, std::uint64_t offset, sim::IoView into, RequestFlags flags) {
    const std::size_t size = into.size();
    for (std::size_t done = 0; done < size;) {
        if (broken_) return Unexpected(Errno::no_medium);
        const DataRequest request(*this);
        Extent found;
        if (!find_extent(offset + done, size - done, found)) {
            const IoResult<Extent> loaded = extent(co, offset + done, size - done);
            if (!loaded) return Unexpected(loaded.error());
            found = *loaded;
        }
        TRY(read_extent(co, found, offset + done, into.sub(done, found.length), flags));
        done += found.length;
    }
    return {};
}

// ---- writing ----

IoStatus Image::write(sim::Co& co, std::uint64_t offset, sim::IoView from, RequestFlags flags) {
    TRY(prepare_change(co));
    const std::size_t size = from.size();
    for (std::size_t done = 0; done < size;) {
        if (broken_) return Unexpected(Errno::no_medium);
        Extent found;
        if (find_extent(offset + done, size - done, found) && found.kind == EntryKind::normal &&
            (found.entry & entry_copied) != 0) {
            const DataRequest request(*this);
            TRY(check_overlap(co, found.host, found.length));
            TRY(file_->write(co, found.host, from.sub(done, found.length),
                             flags & RequestFlag::fua));
            done += found.length;
            continue;
        }
        done += TRY(write_some(co, offset + done, from.sub(done, size - done), flags));
    }
    return {};
}

// The beginning of a write that may have to allocate. Gives how many bytes it has written.
IoResult<std::uint64_t> Image::write_some(sim::Co& co, std::uint64_t offset, sim::IoView from,
                                          RequestFlags flags) {
    const std::uint64_t cluster_bytes = geometry().cluster_bytes();
    NewClusters clusters{.guest = geometry().cluster_start(offset)};
    sim::MutexLock lock(co, mutex);
    if (!sim::mutant<"S11">())
        wait_for_allocations(co, clusters.guest, clusters.guest + cluster_bytes);
    if (broken_) return Unexpected(Errno::no_medium);
    const Slice slice = TRY(slice_for_write(co, offset));
    const std::uint64_t entry = slice.get(0);
    TRY(check_entry(co, entry, offset));
    const bool owned = (entry & entry_copied) != 0;
    if (owned && kind_of(entry) == EntryKind::normal) {
        const Extent found = extent_in(offset, from.size(), slice);
        const DataRequest request(*this);
        lock.unlock();
        TRY(check_overlap(co, found.host, found.length));
        TRY(file_->write(co, found.host, from.sub(0, found.length), flags & RequestFlag::fua));
        return found.length;
    }
    clusters.reserved = owned && kind_of(entry) == EntryKind::zero_allocated;
    clusters.host = entry & entry_offset_mask;

    // As many clusters of the same sort as the write touches.
    const std::uint64_t wanted = std::min(
        geometry().clusters_for(geometry().offset_in_cluster(offset) + from.size()), slice.entries);
    for (clusters.count = 1; clusters.count < wanted; ++clusters.count) {
        const std::uint64_t next = slice.get(clusters.count);
        const std::uint64_t at = clusters.guest + clusters.count * cluster_bytes;
        const bool next_owned =
            (next & entry_copied) != 0 && kind_of(next) != EntryKind::compressed;
        if (clusters.reserved ? next != entry + clusters.count * cluster_bytes : next_owned) break;
        if (!sim::mutant<"qcow2: a long write runs into an allocation">() &&
            overlapping(at, at + cluster_bytes) != nullptr)
            break;
    }
    const std::uint64_t bytes = clusters.count * cluster_bytes;
    if (!clusters.reserved) clusters.host = TRY(allocate_clusters(co, bytes));

    const std::uint64_t length =
        std::min<std::uint64_t>(from.size(), bytes - geometry().offset_in_cluster(offset));
    Allocation allocation(*this, clusters.guest, clusters.guest + bytes);
    lock.unlock();
    const IoStatus written = write_new(co, clusters, offset, from.sub(0, length), flags);
    allocation.failed = !written;
    lock.lock(co, mutex);
    if (broken_) return Unexpected(Errno::no_medium);
    if (!written) {
        if (!clusters.reserved && !sim::mutant<"qcow2: a failed write keeps its clusters">())
            static_cast<void>(
                drop_references(co, clusters.host, bytes, FreeReason::other).has_value());
        return Unexpected(written.error());
    }
    TRY(link_entries(co, clusters.guest, clusters.host, clusters.count));
    return length;
}

// Fills new clusters: with the data, and around it with what the guest saw there before.
IoStatus Image::write_new(sim::Co& co, const NewClusters& clusters, std::uint64_t offset,
                          sim::IoView from, RequestFlags flags) {
    const std::uint64_t bytes = clusters.count * geometry().cluster_bytes();
    const std::uint64_t head = offset - clusters.guest;
    const std::uint64_t tail = bytes - head - from.size();
    const DataRequest request(*this);
    TRY(check_overlap(co, clusters.host, bytes));
    if (head == 0 && tail == 0)
        return file_->write(co, clusters.host, from, flags & RequestFlag::fua);

    const std::uint64_t end = offset + from.size();
    if (reads_zero_around(co, clusters.guest, head) && reads_zero_around(co, end, tail)) {
        const IoStatus zeroed =
            file_->write_zeroes(co, clusters.host, bytes, RequestFlag::no_fallback);
        if (zeroed) return file_->write(co, clusters.host + head, from, flags & RequestFlag::fua);
        if (zeroed.error() != Errno::not_supported) return zeroed;
    }
    TRY(memory_for(node_, "what surrounds a write"));
    std::vector<std::byte> around(head + tail);
    const RequestFlags consistent = backing() != nullptr ? backing()->as_granted() : RequestFlags();
    const std::uint64_t seen = end < size() ? std::min(tail, size() - end) : 0;
    TRY(read(co, clusters.guest, {around.data(), head}, consistent));
    TRY(read(co, end, {around.data() + head, seen}, consistent));

    std::vector<sim::IoVec> pieces{{around.data(), head}};
    from.for_each([&](std::span<std::byte> piece) {
        pieces.push_back({piece.data(), piece.size()});
    });
    pieces.push_back({around.data() + head, tail});
    return file_->write(co, clusters.host, sim::IoView(std::span<const sim::IoVec>(pieces)),
                        flags & RequestFlag::fua);
}

// Known, without reading data, to be zeroes. Beyond the end of the disk everything is.
bool Image::reads_zero_around(sim::Co& co, std::uint64_t offset, std::uint64_t length) {
    const std::uint64_t end = std::min(offset + length, size());
    while (offset < end) {
        const IoResult<Extent> found = extent(co, offset, end - offset);
        if (!found) return false;
        const bool zero = sim::mutant<"qcow2: what surrounds a write is taken for zeroes">() ||
                          found->kind == EntryKind::zero_plain ||
                          found->kind == EntryKind::zero_allocated ||
                          (found->kind == EntryKind::unallocated && !backing_covers(offset));
        if (!zero) return false;
        offset += found->length;
    }
    return true;
}

// What the L2 tables are about to refer to must be counted, and written, before they say so.
IoStatus Image::order_after_allocation(sim::Co& co) {
    if (settings.lazy_refcounts && !header.dirty()) TRY(mark_dirty(co));
    if (accurate_refcounts() && !sim::mutant<"S08">()) TRY(l2_cache.depend_on(co, refcount_cache));
    if (!sim::mutant<"qcow2: L2 entries before the data">()) l2_cache.depend_on_data();
    return {};
}

// Lets guest clusters be these host clusters from now on. Gives how many were linked; what they
// were before is given back, and so are the host clusters on failure.
IoResult<std::uint64_t> Image::link_entries(sim::Co& co, std::uint64_t guest, std::uint64_t host,
                                            std::uint64_t clusters) {
    const std::uint64_t cluster_bytes = geometry().cluster_bytes();
    IoStatus ordered = order_after_allocation(co);
    std::vector<std::uint64_t> replaced;
    for (std::uint64_t done = 0; done < clusters;) {
        IoResult<Slice> slice = ordered ? slice_for_write(co, guest + done * cluster_bytes)
                                        : IoResult<Slice>(Unexpected(ordered.error()));
        if (!slice) {
            static_cast<void>(drop_references(co, host + done * cluster_bytes,
                                              (clusters - done) * cluster_bytes, FreeReason::other)
                                  .has_value());
            return Unexpected(slice.error());
        }
        const std::uint64_t here = std::min(clusters - done, slice->entries);
        replaced.clear();
        for (std::uint64_t i = 0; i < here; ++i) {
            const std::uint64_t entry = host + (done + i) * cluster_bytes;
            const std::uint64_t old = slice->get(i);
            if (kind_of(old) == EntryKind::compressed || (old & entry_offset_mask) != entry)
                replaced.push_back(old);
            slice->set(i, entry | entry_copied);
        }
        if (!sim::mutant<"qcow2: linked entries are not dirty">())
            l2_cache.mark_dirty(*slice->table);
        for (const std::uint64_t old : replaced) free_entry(co, old, FreeReason::other);
        done += here;
    }
    return clusters;
}

}  // namespace blocklayer::qcow2
