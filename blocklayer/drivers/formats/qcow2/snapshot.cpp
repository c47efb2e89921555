// SPDX-License-Identifier: Apache-2.0
// The table of internal snapshots, as others made it: read, and guarded against being overwritten.
#include <algorithm>

#include "blocklayer/drivers/formats/qcow2/image.hpp"
#include "sim/check.hpp"

namespace blocklayer::qcow2 {
namespace {

constexpr std::uint64_t fixed_bytes = 40;
constexpr std::uint32_t extra_known_bytes = 24;  // vm state size, disk size, instruction count

Status unreadable(Errno error) {
    return failure(fmt::format("Could not read snapshots: {}", sim::errno_text(error)), error);
}

void parse_fixed(Snapshot& snapshot, const std::byte* at) {
    snapshot.l1_offset = read_be<std::uint64_t>(at);
    snapshot.l1_entries = read_be<std::uint32_t>(at + 8);
    snapshot.date_s = read_be<std::uint32_t>(at + 16);
    snapshot.date_ns = read_be<std::uint32_t>(at + 20);
    snapshot.guest_clock_ns = read_be<std::uint64_t>(at + 24);
    snapshot.vm_state_bytes = read_be<std::uint32_t>(at + 32);
}

void parse_extra(Snapshot& snapshot, std::span<const std::byte> extra, std::uint64_t disk_bytes) {
    snapshot.disk_bytes = disk_bytes;
    if (extra.size() >= 8) snapshot.vm_state_bytes = read_be<std::uint64_t>(extra.data());
    if (extra.size() >= 16) snapshot.disk_bytes = read_be<std::uint64_t>(extra.data() + 8);
    if (extra.size() >= extra_known_bytes) {
        snapshot.instruction_count = read_be<std::uint64_t>(extra.data() + 16);
        snapshot.has_instruction_count = true;
        const auto rest = extra.subspan(extra_known_bytes);
        snapshot.unknown_extra.assign(rest.begin(), rest.end());
    }
}

std::string as_text(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

Status Image::load_snapshots(sim::Co& co) {
    snapshots.clear();
    std::uint64_t offset = header.snapshots_offset, l1_clusters = 0;
    const std::uint64_t limit = offset + snapshot_table_bytes_max;
    for (std::uint32_t i = 0; i < header.snapshot_count; ++i) {
        offset = round_up(offset, 8);
        std::byte fixed[fixed_bytes];
        if (const IoStatus got = read_metadata(co, offset, std::span<std::byte>(fixed)); !got)
            return unreadable(got.error());
        Snapshot snapshot;
        parse_fixed(snapshot, fixed);
        const std::uint64_t id = read_be<std::uint16_t>(fixed + 12);
        const std::uint64_t name = read_be<std::uint16_t>(fixed + 14);
        const std::uint64_t extra = read_be<std::uint32_t>(fixed + 36);
        if (extra > snapshot_extra_bytes_max)
            return failure(fmt::format("Too much extra metadata in snapshot table entry {}", i));
        std::vector<std::byte> rest(extra + id + name);
        if (!rest.empty())
            if (const IoStatus got =
                    read_metadata(co, offset + fixed_bytes, std::span<std::byte>(rest));
                !got)
                return unreadable(got.error());
        const std::span<const std::byte> bytes(rest);
        parse_extra(snapshot, bytes.first(extra), header.size);
        snapshot.id = as_text(bytes.subspan(extra, id));
        snapshot.name = as_text(bytes.subspan(extra + id));
        if (snapshot.l1_entries > l1_bytes_max / 8 || !geometry().aligned(snapshot.l1_offset) ||
            snapshot.l1_offset >= host_offset_end)
            return failure("Snapshot L1 table offset invalid");
        l1_clusters += geometry().clusters_for(std::uint64_t{snapshot.l1_entries} * 8);
        if (l1_clusters > snapshot_l1_clusters_max)
            return failure("Snapshot L1 table too large", Errno::too_big);
        offset += fixed_bytes + rest.size();
        if (offset > limit) return failure("Snapshot table is too big", Errno::too_big);
        snapshots.push_back(std::move(snapshot));
    }
    const std::uint64_t bytes = offset - header.snapshots_offset;
    snapshot_table_bytes = header.snapshot_count == 0 ? 0 : bytes;
    if (snapshot_table_bytes != 0)
        metadata.add(header.snapshots_offset >> geometry().cluster_bits,
                     geometry().clusters_for(bytes), MetadataKind::snapshot_table);
    return {};
}

// Where the snapshots' tables lie. Their L2 tables are looked for only if they are guarded: that
// takes reading every L1 table.
IoStatus Image::map_snapshots(sim::Co& co) {
    const std::uint32_t bits = geometry().cluster_bits;
    metadata.remove_all(MetadataKind::inactive_l1);
    metadata.remove_all(MetadataKind::inactive_l2);
    for (const Snapshot& snapshot : snapshots)
        metadata.add(snapshot.l1_offset >> bits,
                     geometry().clusters_for(std::uint64_t{snapshot.l1_entries} * 8),
                     MetadataKind::inactive_l1);
    if ((settings.overlap_check & mask_of(MetadataKind::inactive_l2)) == 0) return {};
    const std::uint64_t file_length = file_->child().length();
    for (std::size_t i = 0; i < snapshots.size(); ++i) {
        const Snapshot snapshot = snapshots[i];
        const std::uint64_t bytes = std::uint64_t{snapshot.l1_entries} * 8;
        if (snapshot.l1_offset > file_length || bytes > file_length - snapshot.l1_offset) continue;
        for (const std::uint64_t entry :
             TRY(read_table(co, snapshot.l1_offset, snapshot.l1_entries)))
            if (const std::uint64_t offset = entry & entry_offset_mask; offset != 0)
                metadata.add(offset >> bits, 1, MetadataKind::inactive_l2);
    }
    return {};
}

}  // namespace blocklayer::qcow2
