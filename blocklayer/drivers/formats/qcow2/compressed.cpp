// SPDX-License-Identifier: Apache-2.0
// Compressed clusters: read one, write one. They share host clusters, and are never overwritten.
#include <algorithm>

#include "blocklayer/drivers/formats/qcow2/compress.hpp"
#include "blocklayer/drivers/formats/qcow2/image.hpp"
#include "blocklayer/requests/memory.hpp"

namespace blocklayer::qcow2 {

IoStatus Image::read_compressed(sim::Co& co, std::uint64_t entry, std::uint64_t skip,
                                sim::IoView into, RequestFlags flags) {
    const CompressedExtent extent = compressed_extent(geometry(), entry);
    TRY(memory_for(node_, "a compressed cluster"));
    std::vector<std::byte> stored(extent.bytes), data(geometry().cluster_bytes());
    TRY(file_->read(co, extent.offset, std::span<std::byte>(stored), flags));
    TRY(decompress(header.compression, stored, data));
    into.copy_from(data.data() + skip);
    return {};
}

IoStatus Image::write_compressed(sim::Co& co, std::uint64_t offset, sim::IoView from,
                                 RequestFlags flags) {
    TRY(prepare_change(co));
    const std::uint64_t cluster_bytes = geometry().cluster_bytes();
    if (!geometry().aligned(offset)) return Unexpected(Errno::invalid);
    for (std::size_t done = 0; done < from.size();) {
        const std::size_t here = std::min<std::uint64_t>(cluster_bytes, from.size() - done);
        if (here < cluster_bytes && offset + done + here != size())
            return Unexpected(Errno::invalid);
        TRY(memory_for(node_, "a cluster to compress"));
        std::vector<std::byte> data(cluster_bytes);
        from.sub(done, here).copy_to(data.data());
        const auto packed = compress(header.compression, data, cluster_bytes - 1);
        if (packed)
            TRY(store_compressed(co, offset + done, packed->data(), packed->size()));
        else if (packed.error() == Errno::no_memory)  // does not get smaller
            TRY(write(co, offset + done, from.sub(done, here),
                      flags.without(RequestFlag::compressed)));
        else
            return Unexpected(packed.error());
        done += here;
    }
    return {};
}

IoStatus Image::store_compressed(sim::Co& co, std::uint64_t offset, const std::byte* data,
                                 std::size_t size) {
    sim::MutexLock lock(co, mutex);
    wait_for_allocations(co, offset, offset + geometry().cluster_bytes());
    if (broken_) return Unexpected(Errno::no_medium);
    const Slice before = TRY(slice_for_write(co, offset));
    // What the guest owns already is not replaced by something compressed.
    if ((before.get(0) & entry_copied) != 0) return Unexpected(Errno::io);
    const std::uint64_t host = TRY(allocate_bytes(co, size));

    const Allocation allocation(*this, offset, offset + geometry().cluster_bytes());
    lock.unlock();
    IoStatus done = check_overlap(co, host, size);
    if (done) done = file_->write(co, host, std::span(data, size));
    lock.lock(co, mutex);
    if (broken_) return Unexpected(Errno::no_medium);
    if (done) done = order_after_allocation(co);
    const IoResult<Slice> slice =
        done ? slice_for_write(co, offset) : IoResult<Slice>(Unexpected(done.error()));
    if (!slice) {
        static_cast<void>(drop_references(co, host, size, FreeReason::other).has_value());
        return Unexpected(slice.error());
    }
    const std::uint64_t old = slice->get(0);
    const std::uint64_t more_sectors = (host + size - 1) / sector_bytes - host / sector_bytes;
    slice->set(0, entry_compressed | host | more_sectors << geometry().compressed_shift());
    l2_cache.mark_dirty(*slice->table);
    free_entry(co, old, FreeReason::other);
    return {};
}

}  // namespace blocklayer::qcow2
