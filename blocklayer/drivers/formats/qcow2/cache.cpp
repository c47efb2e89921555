// SPDX-License-Identifier: Apache-2.0
#include "blocklayer/drivers/formats/qcow2/cache.hpp"

#include <algorithm>
#include <bit>

#include "blocklayer/drivers/formats/qcow2/image.hpp"
#include "sim/check.hpp"
#include "sim/mutant.hpp"

namespace blocklayer::qcow2 {

void MetadataCache::configure(std::uint64_t table_bytes, std::uint64_t tables) {
    EXPECTS(!any_dirty_ && tables > 0 && tables <= INT32_MAX);
    forget_all();
    tables_.clear();
    table_bytes_ = table_bytes;
    capacity_ = tables;
    const std::uint64_t buckets = std::bit_ceil(std::max<std::uint64_t>(2, tables * 2));
    buckets_.assign(buckets, -1);
    shift_ = 64 - static_cast<unsigned>(std::countr_zero(buckets));
    hand_ = 0;
}

MetadataCache::Table* MetadataCache::find_slow(std::uint64_t offset) {
    if (buckets_.empty()) return nullptr;
    for (std::int32_t i = buckets_[bucket(offset)]; i >= 0;
         i = tables_[static_cast<std::size_t>(i)]->next) {
        Table& table = *tables_[static_cast<std::size_t>(i)];
        if (table.offset != offset) continue;
        table.recent = true;
        last_ = &table;
        return &table;
    }
    return nullptr;
}

void MetadataCache::link(Table& table) {
    std::int32_t& head = buckets_[bucket(table.offset)];
    table.next = head;
    head = table.index;
    table.recent = true;
    last_ = &table;
}

void MetadataCache::unlink(Table& table) {
    std::int32_t* link = &buckets_[bucket(table.offset)];
    while (tables_[static_cast<std::size_t>(*link)].get() != &table)
        link = &tables_[static_cast<std::size_t>(*link)]->next;
    *link = table.next;
    if (last_ == &table) last_ = nullptr;
    table.offset = 0;
    table.next = -1;
    table.dirty = false;
    table.recent = false;
}

// An empty slot, if need be by writing back and dropping a table that was not used lately.
IoResult<MetadataCache::Table*> MetadataCache::take_slot(sim::Co& co) {
    if (tables_.size() < capacity_) {
        auto table = std::make_unique<Table>();
        table->data = std::make_unique<std::byte[]>(table_bytes_);
        table->index = static_cast<std::int32_t>(tables_.size());
        tables_.push_back(std::move(table));
        return tables_.back().get();
    }
    for (;;) {
        Table& victim = *tables_[hand_];
        hand_ = (hand_ + 1) % tables_.size();
        if (victim.offset != 0 && victim.recent) {
            victim.recent = false;
            continue;
        }
        if (victim.dirty && !sim::mutant<"qcow2: dirty tables are dropped">())
            TRY(write_table(co, victim));
        if (victim.offset != 0) unlink(victim);
        return &victim;
    }
}

IoResult<MetadataCache::Table*> MetadataCache::get_empty(sim::Co& co, std::uint64_t offset) {
    EXPECTS(offset != 0);
    if (Table* table = find(offset)) return table;
    Table* table = TRY(take_slot(co));
    table->offset = offset;
    link(*table);
    return table;
}

IoResult<MetadataCache::Table*> MetadataCache::get(sim::Co& co, std::uint64_t offset) {
    EXPECTS(offset != 0);
    if (Table* table = find(offset)) return table;
    Table* slot = TRY(take_slot(co));
    TRY(image_.read_metadata(co, offset, {slot->bytes(), table_bytes_}));
    // Readers find the table only now that it has its contents.
    slot->offset = offset;
    link(*slot);
    return slot;
}

IoStatus MetadataCache::settle_dependency(sim::Co& co) {
    if (first_ != nullptr) {
        if (sim::mutant<"qcow2: what goes first is written but not flushed">())
            TRY(first_->write_back(co));
        else
            TRY(first_->flush(co));
        first_ = nullptr;
        data_first_ = false;  // that flush took the data along
    } else if (data_first_) {
        if (!sim::mutant<"qcow2: data is not flushed before its entries">())
            TRY(image_.file().flush(co));
        data_first_ = false;
    }
    return {};
}

IoStatus MetadataCache::write_table(sim::Co& co, Table& table) {
    TRY(settle_dependency(co));
    table.dirty = false;
    IoStatus written =
        image_.write_metadata(co, table.offset, {table.bytes(), table_bytes_}, kind_);
    if (!written && !sim::mutant<"qcow2: a table that could not be written counts as clean">())
        mark_dirty(table);
    return written;
}

IoStatus MetadataCache::write_back(sim::Co& co) {
    if (!any_dirty_) return {};
    IoStatus result;
    for (std::size_t i = 0; i < tables_.size(); ++i) {
        if (!tables_[i]->dirty) continue;
        IoStatus written = write_table(co, *tables_[i]);
        if (!written && result) result = written;
    }
    if (result)
        any_dirty_ = std::any_of(tables_.begin(), tables_.end(),
                                 [](const auto& table) { return table->dirty; });
    return result;
}

IoStatus MetadataCache::flush(sim::Co& co) {
    TRY(write_back(co));
    return image_.file().flush(co);
}

IoStatus MetadataCache::depend_on(sim::Co& co, MetadataCache& other) {
    if (other.first_ != nullptr && !sim::mutant<"qcow2: an older dependency is forgotten">())
        TRY(other.settle_dependency(co));  // no cycles
    if (sim::mutant<"qcow2: an older dependency is forgotten">()) other.first_ = nullptr;
    if (first_ != nullptr && first_ != &other) TRY(settle_dependency(co));
    first_ = &other;
    return {};
}

void MetadataCache::forget(std::uint64_t offset, std::uint64_t length) {
    for (const auto& table : tables_)
        if (table->offset != 0 && table->offset >= offset && table->offset - offset < length)
            unlink(*table);
}

void MetadataCache::forget_all() {
    for (const auto& table : tables_)
        if (table->offset != 0) unlink(*table);
    first_ = nullptr;
    data_first_ = false;
    any_dirty_ = false;
}

}  // namespace blocklayer::qcow2
