// SPDX-License-Identifier: Apache-2.0
// MetadataCache: refcount blocks or slices of L2 tables in memory, written back late.
//
// Order on disk is kept by dependencies between the two caches of an image: before a table of one
// is written, everything dirty in the other is, and has been flushed. On allocation the L2 tables
// depend on the refcounts, when clusters are given back the refcounts depend on the L2 tables; so
// that at any moment what lies on disk has refcounts that are right or too high, never too low.
//
// Finding a table that is in memory neither waits nor locks. Everything that takes Co is called
// with the image's mutex held, so tables change only while somebody holds it.
//
// invariant  a Table* is good until the next call on its cache that takes Co
// invariant  who changes a table marks it dirty before anything else can run
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "blocklayer/errors.hpp"
#include "sim/co.hpp"

namespace blocklayer::qcow2 {

class Image;
enum class MetadataKind : std::uint8_t;

class MetadataCache {
public:
    struct Table {
        std::uint64_t offset = 0;  // in the image file; 0: the table is empty
        std::byte* bytes() { return data.get(); }
        std::unique_ptr<std::byte[]> data;
        std::int32_t index = 0;  // in tables_
        std::int32_t next = -1;  // in its bucket
        bool dirty = false;
        bool recent = false;
    };

    MetadataCache(Image& image, MetadataKind kind) : image_(image), kind_(kind) {}
    // Forgets everything; nothing may be dirty.
    void configure(std::uint64_t table_bytes, std::uint64_t tables);
    std::uint64_t table_bytes() const { return table_bytes_; }
    std::uint64_t capacity() const { return capacity_; }

    // The table at this offset if it is in memory, otherwise nullptr.
    Table* find(std::uint64_t offset) {
        if (last_ != nullptr && last_->offset == offset) return last_;
        return find_slow(offset);
    }
    // The table at this offset, read if need be.
    IoResult<Table*> get(sim::Co& co, std::uint64_t offset);
    // A table whose contents the caller fills completely before anything else can run.
    IoResult<Table*> get_empty(sim::Co& co, std::uint64_t offset);
    void mark_dirty(Table& table) {
        table.dirty = true;
        any_dirty_ = true;
    }
    bool any_dirty() const { return any_dirty_; }

    IoStatus write_back(sim::Co& co);  // everything dirty
    IoStatus flush(sim::Co& co);       // and onto stable storage
    // From now on: the other cache first.
    IoStatus depend_on(sim::Co& co, MetadataCache& other);
    // From now on: data that was written to the image before goes first.
    void depend_on_data() { data_first_ = true; }
    // Drops tables of a range that is no longer metadata.
    void forget(std::uint64_t offset, std::uint64_t length);
    // Drops all tables, dirty or not: the image's contents are somebody else's now.
    void forget_all();

private:
    Table* find_slow(std::uint64_t offset);
    IoResult<Table*> take_slot(sim::Co& co);
    IoStatus write_table(sim::Co& co, Table& table);
    IoStatus settle_dependency(sim::Co& co);
    std::size_t bucket(std::uint64_t offset) const {
        return static_cast<std::size_t>(offset * 0x9e3779b97f4a7c15U >> shift_);
    }
    void link(Table& table);
    void unlink(Table& table);

    Image& image_;
    MetadataKind kind_;
    std::uint64_t table_bytes_ = 0;
    std::uint64_t capacity_ = 0;
    std::vector<std::unique_ptr<Table>> tables_;  // grows up to capacity_
    std::vector<std::int32_t> buckets_;
    unsigned shift_ = 63;
    Table* last_ = nullptr;
    std::size_t hand_ = 0;  // where the search for a victim goes on
    MetadataCache* first_ = nullptr;
    bool data_first_ = false;
    bool any_dirty_ = false;
};

}  // namespace blocklayer::qcow2
