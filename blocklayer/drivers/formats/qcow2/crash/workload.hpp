// SPDX-License-Identifier: Apache-2.0
// Workload: a few operations on a small image, chosen so that each kind of metadata changes.
//
// A configuration is an image to begin with: some clusters of every kind, flushed, and caches so
// small that tables are written back at every turn.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "blocklayer/drivers/formats/qcow2/crash/expectation.hpp"
#include "blocklayer/layer.hpp"
#include "sim/memory_store.hpp"

namespace blocklayer::qcow2::crash {

struct Configuration {
    const char* name;
    std::uint64_t cluster_bytes = 512;
    const char* version = "v3";
    int refcount_bits = 16;
    bool backing = false;
    bool snapshot = false;         // shares every table and cluster of the first contents
    bool lazy_refcounts = false;
    bool zstd = false;
    std::uint64_t filled = 0;      // so many more clusters are written at first
    const char* discard = "";      // an option that is on
};
const std::vector<Configuration>& configurations();

struct Operation {
    const char* name;
    enum class Kind : std::uint8_t {
        write,
        write_compressed,
        zero,
        zero_unmap,
        discard,
        flush,
        grow,
        shrink,
        make_empty,
    } kind;
    int first = 0;  // guest cluster
    int count = 0;
    bool partial = false;      // without the first sector, where a cluster has several
    bool second_table = false;  // counted from the first cluster of the second L2 table
};
const std::vector<Operation>& operations();

// An image of the configuration, with its backing file, in a store; and what is on it.
Expectation prepare(const Configuration& configuration, sim::MemoryStore& store);
Value open_options(const Configuration& configuration, bool read_only);

// Performs an operation; the expectation follows.
class Performer {
public:
    Performer(const Configuration& configuration, BlockBackend& disk, Expectation& expectation)
        : configuration_(configuration), disk_(disk), expected_(expectation) {}
    void perform(sim::Co& co, const Operation& operation, Tag tag);

private:
    struct Sectors {
        std::uint64_t first, count;
    };
    Sectors sectors_of(const Operation& operation) const;
    Tag emptied(std::uint64_t sector) const;
    void resize(sim::Co& co, std::uint64_t sectors);
    void make_empty(sim::Co& co);
    // What a sector reads as, is what it is.
    void look(sim::Co& co, Sectors sectors);

    const Configuration& configuration_;
    BlockBackend& disk_;
    Expectation& expected_;
};

}  // namespace blocklayer::qcow2::crash
