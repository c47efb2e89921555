// SPDX-License-Identifier: Apache-2.0
// Load: a process in the guest that works on a disk: random small requests, one after the other.
//
// Every read is checked by the disk's oracle. What the process does is up to the schedule: kinds of
// requests are features a run may lack, requests are operations that may be left out, and one that
// is left out changes no other.
//
// units  bytes
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "hwmodels/guest/checked_disk.hpp"
#include "sim/world.hpp"

namespace hwmodels::guest {

struct LoadOptions {
    unsigned operations = 8;
    std::uint64_t area = 64 * 1024;  // spread over so many pieces of the disk:
    unsigned pieces = 1;             // each begins at a multiple of stride
    std::uint64_t stride = 0;
    std::uint64_t longest = 4 * 1024;  // of one request
    // Chances out of 16; what is left are writes.
    unsigned reads = 3, zeroes = 2, discards = 1, flushes = 1;
    std::uint64_t think = 0;      // before each request: fewer events than this may happen
    bool errors_allowed = false;  // false: the load ends at a failed request
    bool ends_with_disk = false;  // a request to a disk that was taken out ends it, and well
    // Goes on after its operations until this is true, one request a millisecond.
    const bool* until = nullptr;
    // Requests begin and end at multiples of this, itself a multiple of an oracle's sector.
    std::uint64_t unit = ContentOracle::sector_bytes;
};

// How many requests ended well, by kind, and how many did not.
struct LoadResult {
    std::uint64_t reads = 0, writes = 0, zeroes = 0, discards = 0, flushes = 0;
    std::uint64_t failed = 0;
    std::uint64_t left_out = 0;  // of its operations, by the schedule
    std::uint64_t cut_off = 0;   // of its operations: the disk was gone
};

class Load {
public:
    // The disk as it is now. nullptr: there is none any more, and the load ends.
    using Disk = std::function<CheckedDisk*()>;

    // Its requests come from the world's stream "load <name> <process>"; the name is that of its
    // disk, and no other's in the world.
    Load(sim::World& world, const std::string& name, unsigned process, const LoadOptions& options,
         Disk disk);

    // errors: that of a request, unless errors are allowed or there is no disk any more.
    sim::IoStatus run(sim::Co& co);
    const LoadResult& result() const { return result_; }

private:
    sim::IoStatus one(sim::Co& co, CheckedDisk& disk, sim::RandomStream& random);
    sim::IoStatus count(std::uint64_t& ended, sim::IoStatus status);

    sim::World* world_;
    sim::RandomStream* random_;
    LoadOptions options_;
    Disk disk_;
    std::vector<std::byte> data_;
    LoadResult result_;
};

}  // namespace hwmodels::guest
