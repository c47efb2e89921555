// SPDX-License-Identifier: Apache-2.0
// Image: an open qcow2 image: its tables, and what is done with them.
//
// Who may do what when:
//   - Lookups in tables that are in memory neither wait nor lock. So reads and overwrites of
//     allocated clusters go straight to the file.
//   - Everything else that looks at or changes tables holds the mutex. Data I/O never does.
//   - A write into a cluster that is being allocated waits for that allocation (Allocation), and so
//     do zeroes and discards: what they find in the tables is about to change.
//   - A cluster that is given back is not handed out again before the change that freed it is on
//     stable storage and all data I/O that may have looked it up has ended (Freed).
//
// The methods are spread over one file for each concern; see the groups below.
//
// units   bytes, unless a name says clusters or entries
// source  docs/interop/qcow2.txt
#pragma once
#include <fmt/format.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "blocklayer/drivers/driver.hpp"
#include "blocklayer/drivers/formats/qcow2/cache.hpp"
#include "blocklayer/drivers/formats/qcow2/format.hpp"
#include "blocklayer/drivers/formats/qcow2/header.hpp"
#include "blocklayer/drivers/formats/qcow2/metadata_map.hpp"
#include "blocklayer/errors.hpp"
#include "blocklayer/graph/edge.hpp"
#include "blocklayer/graph/node.hpp"
#include "sim/sync.hpp"

namespace blocklayer::qcow2 {

enum class EntryKind : std::uint8_t { unallocated, zero_plain, zero_allocated, normal, compressed };

inline EntryKind kind_of(std::uint64_t entry) {
    if ((entry & entry_compressed) != 0) return EntryKind::compressed;
    const bool has_offset = (entry & entry_offset_mask) != 0;
    if ((entry & entry_zero) != 0)
        return has_offset ? EntryKind::zero_allocated : EntryKind::zero_plain;
    return has_offset ? EntryKind::normal : EntryKind::unallocated;
}

// Guest clusters of one kind in a row; host is contiguous for the kinds that have one.
struct Extent {
    EntryKind kind = EntryKind::unallocated;
    std::uint64_t host = 0;    // of the first byte asked for; normal and zero_allocated
    std::uint64_t length = 0;  // from there
    std::uint64_t entry = 0;   // compressed: the descriptor
};

// As messages have numbers: 0x1f, but 0.
inline std::string hex_text(std::uint64_t number) {
    return number == 0 ? "0" : fmt::format("{:#x}", number);
}

struct Settings {  // what options say about a live image
    bool lazy_refcounts = false;
    bool discard_request = false;  // pass-discard-request
    bool discard_snapshot = true;  // pass-discard-snapshot
    bool discard_other = false;    // pass-discard-other
    KindMask overlap_check = 0;
    std::uint64_t l2_table_bytes = 4096;
    std::uint64_t l2_tables = 2;
    std::uint64_t refcount_tables = 4;
    bool operator==(const Settings&) const = default;
};

struct Snapshot {
    std::uint64_t l1_offset = 0;
    std::uint32_t l1_entries = 0;
    std::string id, name;
    std::uint32_t date_s = 0, date_ns = 0;
    std::uint64_t guest_clock_ns = 0;
    std::uint64_t vm_state_bytes = 0;
    std::uint64_t disk_bytes = 0;
    std::uint64_t instruction_count = 0;
    bool has_instruction_count = false;
    std::vector<std::byte> unknown_extra;
};

enum class FreeReason : std::uint8_t { request, snapshot, resize, other };

class Image {
public:
    explicit Image(Node& node)
        : l2_cache(*this, MetadataKind::active_l2),
          refcount_cache(*this, MetadataKind::refcount_block),
          node_(node) {}
    Image(const Image&) = delete;
    Image& operator=(const Image&) = delete;

    // ---- load.cpp: open and close ----
    Status load_header(sim::Co& co, Edge& file);  // then the caller finds the backing file
    Status load_tables(sim::Co& co, const Settings& settings);
    // Writes back what is in memory and clears the dirty bit.
    IoStatus settle(sim::Co& co);
    IoStatus apply_settings(sim::Co& co, const Settings& settings);
    IoStatus write_header(sim::Co& co);
    IoStatus mark_dirty(sim::Co& co);
    // Before the first change of an image: bits that this program cannot keep true are cleared.
    IoStatus prepare_change(sim::Co& co) {
        if (!change_prepared_) [[unlikely]]
            return prepare_first_change(co);
        return {};
    }
    // Metadata in memory onto the image; the image itself is not flushed.
    IoStatus write_caches(sim::Co& co);
    // The same, onto stable storage: what was given back before may be used again.
    IoStatus write_through(sim::Co& co);
    IoStatus flush(sim::Co& co);

    // ---- io.cpp: the file below ----
    Edge& file() const { return *file_; }
    Edge* backing() const { return node_.cow_child(); }  // a reopen may change it
    Node& node() const { return node_; }
    IoStatus read_metadata(sim::Co& co, std::uint64_t offset, sim::IoView into);
    IoStatus write_metadata(sim::Co& co, std::uint64_t offset, sim::IoView from, MetadataKind kind);
    IoResult<std::vector<std::uint64_t>> read_table(sim::Co& co, std::uint64_t offset,
                                                    std::uint64_t entries);
    IoStatus write_table(sim::Co& co, std::uint64_t offset, const std::vector<std::uint64_t>& table,
                         MetadataKind kind);
    IoStatus check_overlap(sim::Co& co, std::uint64_t offset, std::uint64_t length,
                           KindMask ignore = 0);
    // Reports damage once; fatal: nothing is read or written from now on. Gives Errno::io.
    Unexpected<Errno> corruption(sim::Co& co, std::string text,
                                 std::optional<std::uint64_t> offset = std::nullopt,
                                 std::optional<std::uint64_t> length = std::nullopt);
    bool broken() const { return broken_; }

    // ---- mapping.cpp: L1 and L2 ----
    // What lies at a guest offset, from memory only; false: the table is not in memory.
    bool find_extent(std::uint64_t offset, std::uint64_t length, Extent& extent);
    IoResult<Extent> extent(sim::Co& co, std::uint64_t offset, std::uint64_t length);
    // The slice with the entry of this offset, writable (nobody else refers to its table), made if
    // there is none. units: `entries` from `index` on lie in the same slice.
    struct Slice {
        MetadataCache::Table* table;
        std::uint64_t index;
        std::uint64_t entries;
        std::uint64_t get(std::uint64_t i) const {
            return read_be<std::uint64_t>(table->bytes() + (index + i) * 8);
        }
        void set(std::uint64_t i, std::uint64_t entry) const {
            write_be<std::uint64_t>(table->bytes() + (index + i) * 8, entry);
        }
    };
    IoResult<Slice> slice_for_write(sim::Co& co, std::uint64_t offset);
    // nullopt: there is no table.
    IoResult<std::optional<Slice>> slice_for_read(sim::Co& co, std::uint64_t offset);
    IoStatus write_l1_entry(sim::Co& co, std::uint64_t index);
    IoStatus grow_l1(sim::Co& co, std::uint64_t entries);
    IoStatus check_entry(sim::Co& co, std::uint64_t entry, std::uint64_t offset);

    // ---- refcount.cpp ----
    IoResult<std::uint64_t> refcount(sim::Co& co, std::uint64_t cluster);
    // One up or down for each cluster that the range touches; all or nothing.
    IoStatus add_references(sim::Co& co, std::uint64_t offset, std::uint64_t length);
    IoStatus drop_references(sim::Co& co, std::uint64_t offset, std::uint64_t length,
                             FreeReason reason);
    // Gives back what an L2 entry referred to. A failure only leaks.
    void free_entry(sim::Co& co, std::uint64_t entry, FreeReason reason);
    IoResult<std::uint64_t> allocate_clusters(sim::Co& co, std::uint64_t bytes);
    // Up to this many clusters, at this very place; the answer may be 0. units: clusters
    IoResult<std::uint64_t> allocate_at(sim::Co& co, std::uint64_t offset, std::uint64_t clusters);
    IoResult<std::uint64_t> allocate_bytes(sim::Co& co, std::uint64_t bytes);
    bool accurate_refcounts() const { return !settings.lazy_refcounts || !header.dirty(); }
    // One past the last cluster in use, in clusters.
    IoResult<std::uint64_t> end_cluster(sim::Co& co);

    // ---- allocate.cpp, compressed.cpp: data ----
    IoStatus read(sim::Co& co, std::uint64_t offset, sim::IoView into, RequestFlags flags);
    IoStatus write(sim::Co& co, std::uint64_t offset, sim::IoView from, RequestFlags flags);
    IoStatus read_compressed(sim::Co& co, std::uint64_t entry, std::uint64_t skip, sim::IoView into,
                             RequestFlags flags);
    IoStatus write_compressed(sim::Co& co, std::uint64_t offset, sim::IoView from,
                              RequestFlags flags);

    // ---- zero.cpp ----
    IoStatus write_zeroes(sim::Co& co, std::uint64_t offset, std::uint64_t length,
                          RequestFlags flags);
    IoStatus discard(sim::Co& co, std::uint64_t offset, std::uint64_t length);
    IoStatus make_empty(sim::Co& co);
    // Back to unallocated, also over a backing file.
    IoStatus forget_range(sim::Co& co, std::uint64_t offset, std::uint64_t length,
                          bool make_tables);

    // ---- resize.cpp ----
    Status truncate(sim::Co& co, std::uint64_t size, std::string_view preallocation);

    // ---- snapshot.cpp ----
    Status load_snapshots(sim::Co& co);
    IoStatus map_snapshots(sim::Co& co);

    // ---- check.cpp, repair.cpp ----
    IoResult<Driver::CheckResult> check(sim::Co& co, Driver::Repair repair);

    std::uint64_t size() const { return header.size; }
    const Geometry& geometry() const { return header.geometry; }

    Header header;
    Settings settings;
    std::vector<std::uint64_t> l1;
    std::vector<std::uint64_t> refcount_table;
    std::vector<Snapshot> snapshots;
    std::uint64_t snapshot_table_bytes = 0;
    MetadataMap metadata;
    MetadataCache l2_cache;
    MetadataCache refcount_cache;
    sim::Mutex mutex{"qcow2 metadata"};

private:
    friend class Checker;

    // Clusters being allocated by a request whose data is on its way. Lives on that request's
    // stack; whoever wants the same clusters waits in it. Leaving wakes them, however it ends.
    class Allocation {
    public:
        Allocation(Image& image, std::uint64_t begin, std::uint64_t end);
        Allocation(const Allocation&) = delete;
        Allocation& operator=(const Allocation&) = delete;
        ~Allocation();
        std::uint64_t begin() const { return begin_; }
        std::uint64_t end() const { return end_; }
        sim::WaitQueue finished{"allocation of a qcow2 cluster"};
        bool failed = false;

    private:
        friend class Image;
        Image& image_;
        std::uint64_t begin_, end_;
        Allocation* previous_ = nullptr;
        Allocation* next_ = nullptr;
    };

    // Data I/O that has looked up where its clusters lie.
    class DataRequest {
    public:
        explicit DataRequest(Image& image)
            : image_(image), serial_(image.free_serial_), previous_(image.last_request_) {
            (previous_ != nullptr ? previous_->next_ : image.first_request_) = this;
            image.last_request_ = this;
        }
        DataRequest(const DataRequest&) = delete;
        DataRequest& operator=(const DataRequest&) = delete;
        ~DataRequest() {
            (previous_ != nullptr ? previous_->next_ : image_.first_request_) = next_;
            (next_ != nullptr ? next_->previous_ : image_.last_request_) = previous_;
        }

    private:
        friend class Image;
        Image& image_;
        std::uint64_t serial_;
        DataRequest* previous_;
        DataRequest* next_ = nullptr;
    };

    // Clusters given back and not yet to be used again.
    struct Freed {
        std::uint64_t count;
        std::uint64_t serial;
        bool discard;  // the host is to be offered them
    };

    IoStatus prepare_first_change(sim::Co& co);
    std::uint64_t* l1_entry(std::uint64_t offset) {
        const std::uint64_t index = offset >> geometry().l1_shift();
        return index < l1.size() ? &l1[index] : nullptr;
    }
    Extent extent_in(std::uint64_t offset, std::uint64_t length, const Slice& slice) const;
    Slice slice_at(MetadataCache::Table& table, std::uint64_t offset) const;
    std::uint64_t slice_offset(std::uint64_t l2_offset, std::uint64_t offset) const;
    std::uint64_t entries_in_slice(std::uint64_t offset) const {  // from this one on
        const std::uint64_t entries = l2_cache.table_bytes() / 8;
        return entries - ((offset >> geometry().cluster_bits) & (entries - 1));
    }
    IoStatus make_l2_writable(sim::Co& co, std::uint64_t l1_index);
    IoStatus fill_l2(sim::Co& co, std::uint64_t l2_offset, std::uint64_t old_offset);

    // resize.cpp
    Status drop_l2_tables(sim::Co& co, std::uint64_t size);
    Status shrink_file(sim::Co& co);
    Status hide_backing(sim::Co& co, std::uint64_t offset, std::uint64_t length);
    Status preallocate(sim::Co& co, std::uint64_t offset, std::uint64_t length,
                       std::string_view mode);

    // refcount.cpp
    IoResult<MetadataCache::Table*> refcount_block(sim::Co& co, std::uint64_t cluster);
    IoResult<MetadataCache::Table*> writable_refcount_block(sim::Co& co, std::uint64_t cluster);
    IoStatus drop_empty_refcount_blocks(sim::Co& co);
    IoStatus add_refcount_block(sim::Co& co, std::uint64_t table_index);
    IoStatus grow_refcount_table(sim::Co& co, std::uint64_t entries);
    IoStatus change_refcount(sim::Co& co, std::uint64_t cluster, bool up, bool discard = false);
    IoResult<std::uint64_t> find_free(sim::Co& co, std::uint64_t clusters);
    void add_freed(std::uint64_t cluster, bool discard);
    bool is_freed(std::uint64_t cluster) const;
    void release_freed(sim::Co& co);

    // allocate.cpp
    struct NewClusters;
    Allocation* overlapping(std::uint64_t begin, std::uint64_t end) const;
    // Waits, with the mutex dropped, until no allocation touches the range.
    void wait_for_allocations(sim::Co& co, std::uint64_t begin, std::uint64_t end);
    IoStatus read_extent(sim::Co& co, const Extent& extent, std::uint64_t offset, sim::IoView into,
                         RequestFlags flags);
    IoStatus read_backing(sim::Co& co, std::uint64_t offset, sim::IoView into, RequestFlags flags);
    IoResult<std::uint64_t> write_some(sim::Co& co, std::uint64_t offset, sim::IoView from,
                                       RequestFlags flags);
    IoStatus write_new(sim::Co& co, const NewClusters& clusters, std::uint64_t offset,
                       sim::IoView from, RequestFlags flags);
    IoStatus order_after_allocation(sim::Co& co);
    IoResult<std::uint64_t> link_entries(sim::Co& co, std::uint64_t offset, std::uint64_t host,
                                         std::uint64_t clusters);
    IoStatus change_entries(sim::Co& co, std::uint64_t offset, std::uint64_t length,
                            FreeReason reason, bool make_tables,
                            std::uint64_t (*change)(const Image&, std::uint64_t entry));
    bool reads_zero_around(sim::Co& co, std::uint64_t offset, std::uint64_t length);
    bool backing_covers(std::uint64_t offset) const;
    IoStatus store_compressed(sim::Co& co, std::uint64_t offset, const std::byte* data,
                              std::size_t size);

    Node& node_;
    Edge* file_ = nullptr;
    std::uint64_t free_hint_ = 0;         // no free cluster below, in clusters
    std::uint64_t free_byte_offset_ = 0;  // where the next compressed data may go on; 0: nowhere
    std::map<std::uint64_t, Freed> freed_;
    std::uint64_t free_serial_ = 0;    // of the latest free
    std::uint64_t stable_serial_ = 0;  // frees up to here are on stable storage
    bool discards_wait_ = false;       // some of freed_ is to be discarded
    Allocation* first_allocation_ = nullptr;
    DataRequest* first_request_ = nullptr;
    DataRequest* last_request_ = nullptr;
    bool change_prepared_ = false;
    bool broken_ = false;
    bool reported_ = false;  // non-fatal damage
};

}  // namespace blocklayer::qcow2
