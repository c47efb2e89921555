// SPDX-License-Identifier: Apache-2.0
// MetadataMap: which clusters of the image file hold which kind of metadata.
//
// Every write to the file is compared with it, so that a broken image (a data cluster that is also
// an L2 table) is noticed before the damage is done, in a few nanoseconds a write.
#pragma once
#include <cstdint>
#include <vector>

namespace blocklayer::qcow2 {

// In the order in which overlaps are looked for; bit positions of overlap-check.
enum class MetadataKind : std::uint8_t {
    header,
    active_l1,
    active_l2,
    refcount_table,
    refcount_block,
    snapshot_table,
    inactive_l1,
    inactive_l2,
    bitmap_directory,
};
constexpr unsigned metadata_kinds = 9;

const char* to_text(MetadataKind kind);  // as corruption messages say it

using KindMask = std::uint16_t;
constexpr KindMask mask_of(MetadataKind kind) {
    return static_cast<KindMask>(1u << static_cast<unsigned>(kind));
}

class MetadataMap {
public:
    MetadataMap() : slots_(16) {}

    void add(std::uint64_t cluster, std::uint64_t count, MetadataKind kind) {
        for (std::uint64_t i = 0; i < count; ++i) slot(cluster + i).kinds |= mask_of(kind);
    }
    void remove(std::uint64_t cluster, std::uint64_t count, MetadataKind kind) {
        for (std::uint64_t i = 0; i < count; ++i) {
            KindMask& kinds = slot(cluster + i).kinds;
            kinds = static_cast<KindMask>(kinds & ~mask_of(kind));
        }
    }
    void remove_all(MetadataKind kind) {
        for (Slot& slot : slots_) slot.kinds = static_cast<KindMask>(slot.kinds & ~mask_of(kind));
    }
    KindMask at(std::uint64_t cluster) const {
        for (std::size_t i = hash(cluster);; ++i) {
            const Slot& slot = slots_[i & (slots_.size() - 1)];
            if (slot.key == cluster + 1) return slot.kinds;
            if (slot.key == 0) return 0;
        }
    }
    void clear() { *this = MetadataMap(); }

private:
    struct Slot {
        std::uint64_t key = 0;  // cluster + 1; 0: unused
        KindMask kinds = 0;
    };

    std::size_t hash(std::uint64_t cluster) const {
        return static_cast<std::size_t>(cluster * 0x9e3779b97f4a7c15U >> 20);
    }

    Slot& slot(std::uint64_t cluster) {
        if (used_ * 2 >= slots_.size()) grow();
        for (std::size_t i = hash(cluster);; ++i) {
            Slot& slot = slots_[i & (slots_.size() - 1)];
            if (slot.key == cluster + 1) return slot;
            if (slot.key != 0) continue;
            slot.key = cluster + 1;
            ++used_;
            return slot;
        }
    }

    void grow() {
        std::vector<Slot> old(slots_.size() * 2);
        old.swap(slots_);
        used_ = 0;
        for (const Slot& from : old)
            if (from.key != 0 && from.kinds != 0) slot(from.key - 1).kinds = from.kinds;
    }

    std::vector<Slot> slots_;  // a power of two, at most half full
    std::size_t used_ = 0;
};

}  // namespace blocklayer::qcow2
