// SPDX-License-Identifier: Apache-2.0
#include "blocklayer/drivers/formats/qcow2/crash/workload.hpp"

#include "blocklayer/drivers/formats/qcow2/format.hpp"
#include "blocklayer/graph/backend.hpp"
#include "sim/check.hpp"

namespace blocklayer::qcow2::crash {
namespace {

constexpr const char* image_name = "image.qcow2";
constexpr const char* base_name = "base.raw";
constexpr std::uint64_t clusters_past_table = 16;  // of the disk, in its second L2 table
constexpr std::uint64_t short_disk_clusters = 3;

std::uint64_t table_clusters(const Configuration& configuration) {
    return configuration.cluster_bytes / 8;
}
std::uint64_t disk_sectors(const Configuration& configuration) {
    return (table_clusters(configuration) + clusters_past_table) * configuration.cluster_bytes /
           sector_bytes;
}

Value file_options(const char* name) {
    return Value::dict({{"driver", "file"}, {"filename", name}});
}

void must(const Status& status) {
    INVARIANT(status.has_value());
}

Value create_options(const Configuration& configuration, const char* file) {
    Value options = Value::dict({{"driver", "qcow2"}, {"file", file}});
    options.set("size", disk_sectors(configuration) * sector_bytes);
    options.set("version", configuration.version);
    options.set("cluster-size", configuration.cluster_bytes);
    options.set("refcount-bits", configuration.refcount_bits);
    if (configuration.lazy_refcounts) options.set("lazy-refcounts", true);
    if (configuration.zstd) options.set("compression-type", "zstd");
    if (configuration.backing) {
        options.set("backing-file", base_name);
        options.set("backing-fmt", "raw");
    }
    return options;
}

Status create(sim::Co& co, BlockLayer& layer, const Configuration& configuration) {
    const auto make = [&](Value options) -> Status {
        const DriverSpec* spec = find_driver(options.get_string("driver"));
        CreateContext context{layer, options};
        return spec->create(co, context);
    };
    Value file = file_options(image_name);
    file.set("size", 0);
    TRY(make(std::move(file)));
    Value node = file_options(image_name);
    node.set("node-name", "new");
    TRY(layer.add_monitor_node(co, node));
    TRY(make(create_options(configuration, "new")));
    return layer.remove_monitor_node(co, "new");
}

void put_base(const Configuration& configuration, sim::MemoryStore& store) {
    std::vector<std::byte> bytes(disk_sectors(configuration) * sector_bytes);
    for (std::uint64_t i = 0; i < bytes.size() / sector_bytes; ++i)
        fill_sector(std::span(bytes).subspan(i * sector_bytes, sector_bytes), i, tag_backing);
    sim::ByteImage image;
    image.write(0, bytes);
    store.put(base_name, std::move(image));
}

// An image of 512-byte clusters and 16-bit refcounts, one block of them, changed byte by byte.
class ByHand {
public:
    explicit ByHand(std::vector<std::byte>& image) : image_(image) {}

    // Every table and cluster gets a second user.
    void make_snapshot() {
        const std::uint64_t l1 = number<std::uint64_t>(40), l1_entries = number<std::uint32_t>(36);
        const std::uint64_t copy = round_up(image_.size(), cluster_bytes);
        const std::uint64_t table = copy + round_up(l1_entries * 8, cluster_bytes);
        image_.resize(table + cluster_bytes);
        for (std::uint64_t at = copy; at < image_.size(); at += cluster_bytes) refer_to(at);
        for (std::uint64_t i = 0; i < l1_entries; ++i) {
            const auto entry = number<std::uint64_t>(l1 + i * 8);
            if (entry != 0) share_table(entry & entry_offset_mask);
            put(l1 + i * 8, entry & ~entry_copied);
            put(copy + i * 8, entry & ~entry_copied);
        }
        put(table, copy);
        put(table + 8, static_cast<std::uint32_t>(l1_entries));
        put(table + 12, std::uint16_t{1});
        put(table + 14, std::uint16_t{1});
        put(table + 36, std::uint32_t{16});
        put(table + 48, number<std::uint64_t>(24));
        image_[table + 56] = std::byte{'1'};
        image_[table + 57] = std::byte{'s'};
        put(60, std::uint32_t{1});
        put(64, table);
    }

private:
    static constexpr std::uint64_t cluster_bytes = 512;

    template <class T>
    T number(std::uint64_t at) const {
        return read_be<T>(image_.data() + at);
    }
    template <class T>
    void put(std::uint64_t at, T value) {
        write_be(image_.data() + at, value);
    }
    void refer_to(std::uint64_t offset) {
        const std::uint64_t block = number<std::uint64_t>(number<std::uint64_t>(48));
        const std::uint64_t at = block + offset / cluster_bytes * 2;
        put(at, static_cast<std::uint16_t>(number<std::uint16_t>(at) + 1));
    }
    void share_table(std::uint64_t l2) {
        refer_to(l2);
        for (std::uint64_t at = l2; at < l2 + cluster_bytes; at += 8) {
            const auto entry = number<std::uint64_t>(at);
            if ((entry & entry_compressed) != 0) {
                const CompressedExtent extent = compressed_extent({.cluster_bits = 9}, entry);
                const std::uint64_t last = (extent.offset + extent.bytes - 1) / cluster_bytes;
                for (std::uint64_t i = extent.offset / cluster_bytes; i <= last; ++i)
                    refer_to(i * cluster_bytes);
            } else if ((entry & entry_offset_mask) != 0) {
                refer_to(entry & entry_offset_mask);
                put(at, entry & ~entry_copied);
            }
        }
    }

    std::vector<std::byte>& image_;
};

}  // namespace

const std::vector<Configuration>& configurations() {
    static const std::vector<Configuration> all = {
        {.name = "plain"},
        {.name = "version 2", .version = "v2"},
        {.name = "backing file", .backing = true},
        {.name = "1 KiB clusters, 1-bit refcounts", .cluster_bytes = 1024, .refcount_bits = 1},
        {.name = "new refcount block", .refcount_bits = 64, .filled = 28},
        {.name = "lazy refcounts", .lazy_refcounts = true},
        {.name = "snapshot", .snapshot = true},
        {.name = "discards passed on", .backing = true, .discard = "pass-discard-other"},
        {.name = "4 KiB clusters, zstd", .cluster_bytes = 4096, .zstd = true},
        {.name = "new refcount table", .refcount_bits = 64, .filled = 4020},
    };
    return all;
}

const std::vector<Operation>& operations() {
    using Kind = Operation::Kind;
    static const std::vector<Operation> all = {
        {"write", Kind::write, 10, 1, true},
        {"write-run", Kind::write, 12, 4},
        {"write-across-tables", Kind::write, -2, 4, false, true},
        {"write-new-table", Kind::write, 6, 1, true, true},
        {"overwrite", Kind::write, 1, 2},
        {"write-into-zero", Kind::write, 4, 1, true},
        {"write-over-compressed", Kind::write, 6, 1, true},
        {"write-compressed", Kind::write_compressed, 24, 1},
        {"write-compressed-2", Kind::write_compressed, 25, 2},
        {"zero", Kind::zero, 0, 2},
        {"zero-hole", Kind::zero, 20, 2},
        {"unmap", Kind::zero_unmap, 1, 2},
        {"unmap-compressed", Kind::zero_unmap, 7, 1},
        {"discard", Kind::discard, 0, 3},
        {"discard-compressed", Kind::discard, 6, 2},
        {"flush", Kind::flush},
        {"grow", Kind::grow},
        {"shrink", Kind::shrink},
        {"make-empty", Kind::make_empty},
    };
    return all;
}

Value open_options(const Configuration& configuration, bool read_only) {
    Value file = file_options(image_name);
    file.set("discard", "unmap");
    Value options = Value::dict({{"driver", "qcow2"}, {"node-name", "image"}});
    options.set("file", std::move(file));
    options.set("read-only", read_only);
    options.set("discard", "unmap");
    options.set("l2-cache-entry-size", sector_bytes);
    options.set("l2-cache-size", 2 * sector_bytes);
    options.set("refcount-cache-size", configuration.cluster_bytes);
    if (*configuration.discard != '\0') options.set(configuration.discard, true);
    return options;
}

Expectation prepare(const Configuration& configuration, sim::MemoryStore& store) {
    if (configuration.backing) put_base(configuration, store);
    Expectation expected(disk_sectors(configuration));
    if (configuration.backing)
        for (std::uint64_t i = 0; i < disk_sectors(configuration); ++i)
            expected.is_now(i, tag_backing);
    using Kind = Operation::Kind;
    std::vector<Operation> first = {
        {"", Kind::write, 0, 4}, {"", Kind::write, 4, 2}, {"", Kind::zero, 4, 2},
        {"", Kind::write_compressed, 6, 2}, {"", Kind::zero, 8, 1},
    };
    if (configuration.filled > 0)
        first.push_back({"", Kind::write, 30, static_cast<int>(configuration.filled)});
    sim::World world;
    BlockLayer layer(world, store);
    world.run([&](sim::Co& co) {
        must(create(co, layer, configuration));
        NodeRef node = *layer.open(co, open_options(configuration, false));
        const auto disk = BlockBackend::make(
            layer, {.used = Perm::consistent_read | Perm::write | PermSet(Perm::resize),
                    .shared = PermSet::all()});
        must(disk->insert(*node));
        Performer performer(configuration, *disk, expected);
        for (const Operation& operation : first) performer.perform(co, operation, tag_first);
        disk->remove();
        node = NodeRef();
        layer.shut_down(co);
    });
    expected.flushed();
    if (configuration.snapshot) {
        const sim::MemoryMedium& medium = *store.medium(image_name);
        std::vector<std::byte> bytes(medium.contents().size());
        medium.contents().read(0, bytes);
        ByHand(bytes).make_snapshot();
        sim::ByteImage image;
        image.write(0, bytes);
        store.put(image_name, std::move(image));
    }
    return expected;
}

// ---- performing ----

Performer::Sectors Performer::sectors_of(const Operation& operation) const {
    const std::uint64_t in_cluster = configuration_.cluster_bytes / sector_bytes;
    const std::uint64_t start =
        (operation.second_table ? table_clusters(configuration_) : 0) +
        static_cast<std::uint64_t>(static_cast<std::int64_t>(operation.first));
    Sectors sectors{start * in_cluster, static_cast<std::uint64_t>(operation.count) * in_cluster};
    if (operation.partial && in_cluster > 1) {
        ++sectors.first;
        --sectors.count;
    }
    // The disk may be shorter by now.
    const std::uint64_t size = expected_.size();
    sectors.first = std::min(sectors.first, size);
    sectors.count = std::min(sectors.count, size - sectors.first);
    return sectors;
}

void Performer::perform(sim::Co& co, const Operation& operation, Tag tag) {
    using Kind = Operation::Kind;
    const Sectors range = sectors_of(operation);
    const std::uint64_t offset = range.first * sector_bytes, length = range.count * sector_bytes;
    const bool zeroes = operation.kind == Kind::zero || operation.kind == Kind::zero_unmap ||
                        operation.kind == Kind::discard;
    if (zeroes) tag = tag_zero;
    if (operation.count > 0 && range.count == 0) return;
    if (operation.count > 0) expected_.may_become(range.first, range.count, tag);
    IoStatus done;
    switch (operation.kind) {
    case Kind::write:
    case Kind::write_compressed: {
        std::vector<std::byte> data(length);
        for (std::uint64_t i = 0; i < range.count; ++i)
            fill_sector(std::span(data).subspan(i * sector_bytes, sector_bytes), range.first + i,
                        tag);
        done = disk_.write(co, offset, std::span<const std::byte>(data),
                           operation.kind == Kind::write_compressed
                               ? RequestFlags(RequestFlag::compressed)
                               : RequestFlags());
        break;
    }
    case Kind::zero: done = disk_.write_zeroes(co, offset, length); break;
    case Kind::zero_unmap:
        done = disk_.write_zeroes(co, offset, length, RequestFlag::may_unmap);
        break;
    case Kind::discard:
        static_cast<void>(disk_.discard(co, offset, length).has_value());
        return look(co, range);
    case Kind::flush:
        if (disk_.flush(co)) expected_.flushed();
        return;
    case Kind::grow:
        return resize(co, expected_.size() + 2 * table_clusters(configuration_) *
                                                 configuration_.cluster_bytes / sector_bytes);
    case Kind::shrink:
        return resize(co, short_disk_clusters * configuration_.cluster_bytes / sector_bytes);
    case Kind::make_empty: return make_empty(co);
    }
    if (!done) return look(co, range);  // only a compressed write may be refused here
    for (std::uint64_t i = 0; i < range.count; ++i) expected_.is_now(range.first + i, tag);
}

void Performer::look(sim::Co& co, Sectors sectors) {
    std::vector<std::byte> data(sectors.count * sector_bytes);
    const IoStatus read = disk_.read(co, sectors.first * sector_bytes, std::span(data));
    INVARIANT(read.has_value());
    for (std::uint64_t i = 0; i < sectors.count; ++i) {
        const Tag seen = tag_of(std::span(data).subspan(i * sector_bytes, sector_bytes),
                                sectors.first + i);
        INVARIANT(expected_.allows(sectors.first + i, seen));
        expected_.is_now(sectors.first + i, seen);
    }
}

// What a sector reads as when the image does not hold it.
Tag Performer::emptied(std::uint64_t sector) const {
    return configuration_.backing && sector < disk_sectors(configuration_) ? tag_backing
                                                                          : tag_zero;
}

void Performer::resize(sim::Co& co, std::uint64_t sectors) {
    const std::uint64_t before = expected_.size();
    expected_.may_have_size(sectors);
    // What is being cut off may go before the end of the disk moves, down to the backing file.
    for (std::uint64_t i = sectors; i < before; ++i) expected_.may_become(i, 1, emptied(i));
    if (sectors < before) expected_.may_become(sectors, before - sectors, tag_zero);
    if (!disk_.truncate(co, sectors * sector_bytes, true)) return;
    for (std::uint64_t i = sectors; i < before; ++i) expected_.is_now(i, tag_zero);
    expected_.has_size(sectors);
}

void Performer::make_empty(sim::Co& co) {
    const std::uint64_t size = expected_.size();
    for (std::uint64_t i = 0; i < size; ++i) expected_.may_become(i, 1, emptied(i));
    if (!disk_.node()->driver().make_empty(co)) return;
    for (std::uint64_t i = 0; i < size; ++i) expected_.is_now(i, emptied(i));
}

}  // namespace blocklayer::qcow2::crash
