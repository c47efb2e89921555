// SPDX-License-Identifier: Apache-2.0
// MemoryStore: files in simulated media.
//
// Every operation suspends once before it takes effect, so that the order in which concurrent ones
// complete is the schedule's. A store belongs to no world: it may be filled once and restored from
// a snapshot for each of many.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "sim/host_store.hpp"
#include "sim/memory_medium.hpp"

namespace sim {

class MemoryStore final : public HostStore {
public:
    explicit MemoryStore(WriteCache cache = WriteCache::none) : cache_(cache) {}

    IoResult<std::unique_ptr<HostFile>> open(std::string_view path, HostAccess access) override;
    IoResult<std::unique_ptr<HostFile>> create(std::string_view path) override;
    // Open descriptions of a removed file keep it alive.
    IoStatus remove(std::string_view path) override;
    bool exists(std::string_view path) const override { return media_.contains(path); }
    std::vector<std::string> list() const override;

    // The medium behind a path, or nullptr. Valid until the file is removed.
    MemoryMedium* medium(std::string_view path);
    // Makes the file, or replaces its contents, without any simulated operation.
    MemoryMedium& put(std::string_view path, ByteImage image);

    // All contents; O(1) in their size. A restored file is durable and has nothing pending; files
    // made since are removed.
    using Snapshot = std::map<std::string, ByteImage, std::less<>>;
    Snapshot snapshot() const;
    void restore(const Snapshot& snapshot);

    // Room for all files together; a write that needs more gets Errno::no_space. 0: no limit.
    void set_capacity(std::uint64_t bytes) { capacity_ = bytes; }

    // The host loses power: of each file's pending writes a subset of the schedule's choosing
    // survives (its first answer: nothing does). Every open description is dead from here: its
    // operations, those in flight included, end with Errno::io.
    void power_cut(World& world);
    // The same, with `keep` asked for each piece of each file's pending writes.
    using Keep = std::function<bool(const MemoryMedium&, const PendingWrite&, std::size_t piece)>;
    void power_cut(const Keep& keep);

private:
    friend class MemoryFile;
    bool has_room(const MemoryMedium& medium, std::uint64_t offset, std::uint64_t length) const;

    std::map<std::string, std::shared_ptr<MemoryMedium>, std::less<>> media_;
    WriteCache cache_;  // of new files
    std::uint64_t capacity_ = 0;
    std::uint64_t next_description_ = 1;
};

}  // namespace sim
