// SPDX-License-Identifier: Apache-2.0
// MemoryMedium: the contents behind one path of a MemoryStore, and what can happen to them.
//
// With a volatile write cache every write is remembered until a flush that was issued after it
// completes; a power cut may then lose any sectors of what is remembered, and of what was still in
// flight. Without one (the default) only writes in flight can be lost or torn, and nothing is kept.
//
// units      bytes
// invariant  contents() is durable() with every acknowledged pending write applied in order
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "sim/byte_image.hpp"
#include "sim/errno.hpp"
#include "sim/faults/medium_faults.hpp"
#include "sim/host_op.hpp"
#include "sim/io_view.hpp"
#include "sim/label.hpp"
#include "sim/platform.hpp"
#include "sim/time.hpp"

namespace sim {

class Co;
class World;

enum class WriteCache : bool { none, volatile_ };

// After `skip` operations of this kind succeeded, the next `times` of them fail, having done
// nothing.
struct HostFault {
    HostOp op;
    std::uint64_t skip = 0;
    std::uint64_t times = 1;
    Errno error = Errno::io;
};

// One change that a power cut may lose, whole or in pieces.
struct PendingWrite {
    HostOp op;  // write, write_zeroes, discard or truncate
    std::uint64_t offset;
    std::uint64_t length;         // truncate: 0, the new size is the offset
    std::vector<std::byte> data;  // write only
    bool acknowledged = true;     // false: still in flight
    std::uint64_t issued = 0;     // its place in the order of completion

    // Pieces survive independently: sectors of written data, larger runs of zeroes; a truncate is
    // one piece.
    std::size_t pieces() const;
    std::pair<std::uint64_t, std::uint64_t> piece(std::size_t index) const;  // begin, end
};

class MemoryMedium {
public:
    static constexpr std::uint64_t sector_bytes = 512;

    const std::string& path() const { return path_; }
    const ByteImage& contents() const { return contents_; }
    // What would survive if everything unflushed were lost.
    const ByteImage& durable() const {
        return cache_ == WriteCache::none ? contents_ : durable_;
    }
    // Replaces the contents at once, as durable ones; open descriptions go on with the new ones.
    // With a copy taken from contents() before, this is the way back to a snapshot, in O(1).
    void restore(ByteImage image);

    void set_cache(WriteCache cache);
    WriteCache cache() const { return cache_; }
    void set_latency(Duration latency) { latency_ = latency; }  // of each operation
    void set_disk(DiskTime* disk) { disk_ = disk; }             // nullptr: takes no time
    void set_read_only(bool on) { read_only_ = on; }            // opening for writing is refused
    void add_fault(HostFault fault) { faults_.push_back(fault); }
    // Faults of the schedule's choosing.
    MediumFaults& chosen_faults();
    void clear_faults();

    // What a power cut now could lose, in the order it would be applied.
    std::vector<PendingWrite> pending() const;
    // The contents after a power cut that kept exactly these pieces. One flag a piece, all pieces
    // of the first pending write first. Changes nothing.
    ByteImage surviving(std::span<const PendingWrite> pending,
                        const std::vector<bool>& kept) const;

    std::uint64_t operations(HostOp op) const { return counts_[static_cast<std::size_t>(op)]; }

private:
    friend class MemoryStore;
    friend class MemoryFile;

    // A change that was issued and has not completed; lives on the stack of its fiber.
    struct InFlight {
        InFlight(MemoryMedium& medium, HostOp op, std::uint64_t offset, std::uint64_t length,
                 IoView data);
        InFlight(const InFlight&) = delete;
        InFlight& operator=(const InFlight&) = delete;
        ~InFlight();
        MemoryMedium& medium;
        HostOp op;
        std::uint64_t offset, length;
        IoView data;
        InFlight* previous = nullptr;
        InFlight* next = nullptr;
    };

    // Suspends for as long as the operation takes, then says whether it may happen.
    IoStatus take_turn(Co& co, HostOp op, std::uint64_t bytes, Label why);
    IoStatus injected(HostOp op);
    // After it took effect: its answer may be late, or lost until the power goes.
    IoStatus answer(Co& co, HostOp op);
    void remember(HostOp op, std::uint64_t offset, std::uint64_t length, IoView data);
    void flushed(std::uint64_t up_to);
    void lose_power(ByteImage survivors);

    static void apply(ByteImage& image, const PendingWrite& write, std::uint64_t begin,
                      std::uint64_t end);

    std::string path_;
    ByteImage contents_;
    ByteImage durable_;                  // volatile cache only
    std::vector<PendingWrite> pending_;  // volatile cache only
    WriteCache cache_ = WriteCache::none;
    bool read_only_ = false;
    Duration latency_;
    DiskTime* disk_ = nullptr;
    std::vector<HostFault> faults_;
    std::unique_ptr<MediumFaults> chosen_faults_;  // nullptr: none
    InFlight* in_flight_first_ = nullptr;
    InFlight* in_flight_last_ = nullptr;
    std::uint64_t completed_writes_ = 0;
    std::uint64_t power_cycle_ = 0;  // descriptions opened in an earlier one are dead
    std::array<std::uint64_t, 6> counts_{};
    struct Lock {
        std::uint64_t byte;
        std::uint64_t holder;
    };
    std::vector<Lock> locks_;  // shared ones; descriptions hold each byte at most once
};

}  // namespace sim
