// SPDX-License-Identifier: Apache-2.0
// The file below: reading and writing metadata, guarding it, and reporting damage.
#include <bit>
#include <cstdio>

#include "blocklayer/drivers/formats/qcow2/image.hpp"
#include "blocklayer/graph/backend.hpp"
#include "blocklayer/layer.hpp"
#include "blocklayer/requests/memory.hpp"
#include "sim/check.hpp"

namespace blocklayer::qcow2 {

IoStatus Image::read_metadata(sim::Co& co, std::uint64_t offset, sim::IoView into) {
    return file_->read(co, offset, into, file_->as_granted());
}

IoStatus Image::write_metadata(sim::Co& co, std::uint64_t offset, sim::IoView from,
                               MetadataKind kind) {
    TRY(check_overlap(co, offset, from.size(), mask_of(kind)));
    return file_->write(co, offset, from);
}

IoResult<std::vector<std::uint64_t>> Image::read_table(sim::Co& co, std::uint64_t offset,
                                                       std::uint64_t entries) {
    TRY(memory_for(node_, "a table"));
    std::vector<std::uint64_t> table(entries);
    if (entries == 0) return table;
    TRY(read_metadata(co, offset, std::as_writable_bytes(std::span(table))));
    for (std::uint64_t& entry : table)
        entry = read_be<std::uint64_t>(reinterpret_cast<const std::byte*>(&entry));
    return table;
}

IoStatus Image::write_table(sim::Co& co, std::uint64_t offset,
                            const std::vector<std::uint64_t>& table, MetadataKind kind) {
    if (table.empty()) return {};
    TRY(memory_for(node_, "a table"));
    std::vector<std::byte> bytes(table.size() * 8);
    for (std::size_t i = 0; i < table.size(); ++i) write_be(bytes.data() + i * 8, table[i]);
    return write_metadata(co, offset, std::span<const std::byte>(bytes), kind);
}

IoStatus Image::check_overlap(sim::Co& co, std::uint64_t offset, std::uint64_t length,
                              KindMask ignore) {
    const auto guarded = static_cast<KindMask>(settings.overlap_check & ~ignore);
    if (guarded == 0 || length == 0) return {};
    const std::uint64_t last = (offset + length - 1) >> geometry().cluster_bits;
    for (std::uint64_t cluster = offset >> geometry().cluster_bits; cluster <= last; ++cluster) {
        const unsigned hit = metadata.at(cluster) & guarded;
        if (hit == 0) [[likely]] continue;
        const auto kind = static_cast<MetadataKind>(std::countr_zero(hit));
        return corruption(co,
                          fmt::format("Preventing invalid write on metadata (overlaps with {})",
                                      to_text(kind)),
                          offset, length);
    }
    return {};
}

Unexpected<Errno> Image::corruption(sim::Co& co, std::string text,
                                    std::optional<std::uint64_t> offset,
                                    std::optional<std::uint64_t> length) {
    const bool fatal = node_.writable();
    if (broken_ || (reported_ && !fatal)) return Unexpected(Errno::io);
    reported_ = true;
    std::fputs(fatal ? fmt::format("qcow2: Marking image as corrupt: {}; further corruption "
                                   "events will be suppressed\n", text).c_str()
                     : fmt::format("qcow2: Image is corrupt: {}; further non-fatal corruption "
                                   "events will be suppressed\n", text).c_str(),
               stderr);

    std::string device;
    for (Edge* edge : node_.parents())
        if (const BlockBackend* backend = edge->parent().as_backend())
            if (device.empty()) device = backend->name();
    Value data = Value::dict({{"device", device}, {"msg", std::move(text)}});
    data.set("node-name", node_.name());
    if (offset) data.set("offset", *offset);
    if (length) data.set("size", *length);
    data.set("fatal", fatal);
    node_.layer().emit_event("BLOCK_IMAGE_CORRUPTED", std::move(data));

    if (fatal) {
        broken_ = true;  // nothing in memory may reach the image any more
        header.incompatible |= incompatible_corrupt;
        if (header.version > 2) {
            std::byte bytes[8];
            write_be(bytes, header.incompatible);
            // The image is lost for this user whether or not the mark could be written.
            if (file_->write(co, header_at_incompatible, std::span<const std::byte>(bytes)))
                static_cast<void>(file_->flush(co).has_value());
        }
    }
    return Unexpected(Errno::io);
}

}  // namespace blocklayer::qcow2
