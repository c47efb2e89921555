// SPDX-License-Identifier: Apache-2.0
// DirtyBitmap: which parts of a node were written since it was created or cleared.
//
// The request layer sets bits when a write, zero or discard has ended (never when it starts: a
// reader that clears a bit must be sure that the data it reads next is new).
//
// units  bytes; one bit covers `granularity` bytes, a power of two
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace blocklayer {

class DirtyBitmap {
public:
    DirtyBitmap(std::string name, std::uint64_t length, std::uint32_t granularity);

    const std::string& name() const { return name_; }
    std::uint32_t granularity() const { return granularity_; }
    std::uint64_t length() const { return length_; }
    void set(std::uint64_t offset, std::uint64_t length);
    void clear(std::uint64_t offset, std::uint64_t length);
    bool get(std::uint64_t offset) const;
    std::uint64_t dirty_bytes() const { return dirty_ * granularity_; }  // in whole granules
    std::uint64_t dirty_granules() const { return dirty_; }
    // The first dirty granule's offset at or after `offset`.
    std::optional<std::uint64_t> next_dirty(std::uint64_t offset) const;
    // The first clean granule's offset at or after `offset`; length() when there is none.
    std::uint64_t next_clean(std::uint64_t offset) const;
    void resize(std::uint64_t length);  // what is new is clean
    bool enabled = true;
    std::function<void()> on_set;  // bits were set; nullptr: nobody asks
    bool busy = false;

private:
    std::string name_;
    std::uint64_t length_;
    std::uint32_t granularity_;
    std::vector<std::uint64_t> words_;
    std::uint64_t dirty_ = 0;
};

}  // namespace blocklayer
