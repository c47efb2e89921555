// SPDX-License-Identifier: Apache-2.0
// Explorer: cuts the power at every moment of a workload, in every way the disk allows.
//
// The host file has a volatile cache: of what was written since its last completed flush any part
// may survive, sector by sector. After each change of the file, and after each flush the guest
// asked for, the states that can be left are made and looked at: the image is opened (which repairs
// one that says it is dirty), checked and read. Nothing beyond leaked clusters may be wrong with
// it, and every sector reads as the expectation says. Some states go on living: one more write, and
// the check again.
//
// Which states: with at most `pieces_max` sectors in the cache, all their subsets. With more: all
// subsets of whole writes (of the newest `writes_max` of them, the others all or none), for each
// sector of the newest write the states with all but it and with nothing of that write but it, and
// `random_states` drawn subsets. Subsets without anything of the newest write were looked at before
// it, when less was allowed.
//
// A state is the contents of the file and what they may read as; each is looked at once.
#pragma once
#include <string>
#include <unordered_set>
#include <vector>

#include "blocklayer/drivers/formats/qcow2/crash/workload.hpp"
#include "sim/rng.hpp"

namespace blocklayer::qcow2::crash {

struct Limits {
    std::size_t pieces_max = 8;
    std::size_t writes_max = 6;
    std::size_t random_states = 32;
};

struct Failure {
    std::string operations;  // "write,flush,discard"
    std::size_t moment;      // how many changes of the file before
    std::string kept;        // one digit for each sector in the cache
    std::string what;
};

struct Counts {
    std::uint64_t workloads = 0;
    std::uint64_t moments = 0;
    std::uint64_t states = 0;    // made
    std::uint64_t distinct = 0;  // looked at
    std::uint64_t leaking = 0;
    std::uint64_t continued = 0;
};

class Explorer {
public:
    explicit Explorer(const Configuration& configuration, Limits limits = {});

    // Lives the workload and looks at every state.
    void explore(const std::vector<const Operation*>& workload);

    // What is wrong with an image of these contents; empty: nothing.
    std::string judge(const std::vector<std::byte>& contents, const Expectation& expected);
    // The image to begin with.
    std::vector<std::byte> first_contents() const;
    const Expectation& first_expected() const { return first_expected_; }

    const Counts& counts() const { return counts_; }
    const std::vector<Failure>& failures() const { return failures_; }

private:
    struct Moment {
        std::size_t number;
        bool everything;  // also subsets without the newest change
        std::vector<std::byte> durable;
        std::vector<sim::PendingWrite> pending;
        Expectation expected;
    };
    std::vector<Moment> live(const std::vector<const Operation*>& workload);
    void look_at(const Moment& moment);
    void look_at(const Moment& moment, const std::vector<bool>& kept);
    void fail(const Moment& moment, const std::vector<bool>& kept, std::string what);
    std::string judge_open(sim::Co& co, BlockLayer& layer, const Expectation& expected);
    std::string judge_range(sim::Co& co, BlockBackend& disk, std::uint64_t offset,
                            std::uint64_t length, bool hole, const Expectation& expected);
    std::string go_on(sim::Co& co, BlockBackend& disk);

    const Configuration& configuration_;
    Limits limits_;
    sim::MemoryStore::Snapshot first_;
    Expectation first_expected_;
    sim::MemoryStore scratch_;  // in which states are looked at
    std::unordered_set<std::uint64_t> seen_;
    std::string operations_;    // of the workload being explored
    sim::RandomStream random_;
    bool go_on_next_ = false;
    Counts counts_;
    std::vector<Failure> failures_;
};

// All of so many operations in a row, in a fixed order; units: the operations' indices.
std::vector<const Operation*> workload_of(std::uint64_t number, unsigned length);
std::uint64_t workloads_of(unsigned length);

}  // namespace blocklayer::qcow2::crash
