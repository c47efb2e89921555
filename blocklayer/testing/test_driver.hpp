// SPDX-License-Identifier: Apache-2.0
// Drivers for tests only, of each kind, whose every property a test can set.
//
//   test-memory   a protocol: bytes in memory, with limits, delays and failures as asked
//   test-format   a format over "file", with an optional backing file, allocating in 64 KiB
//                 clusters
//   test-filter   a filter over "file" that may take and withhold permissions of its own
#pragma once
#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "blocklayer/drivers/driver.hpp"
#include "blocklayer/graph/node.hpp"

namespace blocklayer::testing {

struct DriverCall {
    std::string request;  // "read", "write", "zero", "discard", "flush"
    std::uint64_t offset = 0, length = 0;
    RequestFlags flags;
    bool operator==(const DriverCall&) const = default;
};

class MemoryDriver final : public Driver {
public:
    Status open(sim::Co& co, OpenContext& context) override;
    IoStatus read(sim::Co& co, std::uint64_t offset, sim::IoView into, RequestFlags flags) override;
    IoStatus write(sim::Co& co, std::uint64_t offset, sim::IoView from,
                   RequestFlags flags) override;
    IoStatus write_zeroes(sim::Co& co, std::uint64_t offset, std::uint64_t length,
                          RequestFlags flags) override;
    IoStatus discard(sim::Co& co, std::uint64_t offset, std::uint64_t length) override;
    IoStatus flush(sim::Co& co) override;
    Status truncate(sim::Co& co, std::uint64_t size, bool exact, std::string_view preallocation,
                    RequestFlags flags) override;
    IoResult<std::uint64_t> length(sim::Co& co) override;
    Limits limits() const override { return given; }
    Status prepare_claim(Claim claim, bool writable) override;
    void commit_claim() override;
    void abort_claim() override;
    bool can_change_option(std::string_view name) const override { return name == "tag"; }
    Status reopen_prepare(sim::Co& co, ReopenContext& context) override;
    void reopen_commit(sim::Co&) override { hooks.push_back("reopen commit"); }
    void reopen_abort(sim::Co&) override { hooks.push_back("reopen abort"); }
    void drain_begin() override { hooks.push_back("drain begin"); }
    void drain_end() override { hooks.push_back("drain end"); }

    std::vector<std::byte> bytes;
    Limits given;
    bool zeroes_supported = false;
    bool refuse_claims = false;  // prepare_claim fails where more is used or less is shared
    bool refuse_all = false;     // ... and also where it is given something back
    bool refuse_reopen = false;
    std::set<std::string> failing;                            // requests that end with io
    std::function<void(sim::Co&, const DriverCall&)> before;  // may wait
    std::vector<DriverCall> calls;
    std::vector<std::string> hooks;  // "prepare", "commit", "abort", ...
    Claim held;                      // of the last commit

private:
    IoStatus arrive(sim::Co& co, DriverCall call);
    Claim prepared_;
};

class FilterDriver final : public Driver {
public:
    Status open(sim::Co& co, OpenContext& context) override;
    IoResult<std::uint64_t> length(sim::Co& co) override;
    std::optional<std::uint64_t> length_with_child(const Edge& child) const override;
    Claim child_claim(const Edge* edge, RoleSet role, Claim cumulative,
                      bool writable) const override;
    PermSet takes, withholds;
};

class FormatDriver final : public Driver {
public:
    static constexpr std::uint64_t cluster_bytes = 64 * 1024;
    Status open(sim::Co& co, OpenContext& context) override;
    IoStatus read(sim::Co& co, std::uint64_t offset, sim::IoView into, RequestFlags flags) override;
    IoStatus write(sim::Co& co, std::uint64_t offset, sim::IoView from,
                   RequestFlags flags) override;
    IoResult<std::uint64_t> length(sim::Co& co) override;
    Status truncate(sim::Co& co, std::uint64_t size, bool exact, std::string_view preallocation,
                    RequestFlags flags) override;
    IoResult<BlockStatus> block_status(sim::Co& co, std::uint64_t offset,
                                       std::uint64_t length) override;
    DriverInfo info() override { return {.cluster_size = cluster_bytes}; }
    Status change_backing_file(sim::Co&, std::string_view file, std::string_view) override {
        backing_file = file;
        return {};
    }

    std::string backing_file;           // as a job named it
    std::set<std::uint64_t> allocated;  // cluster numbers; at the same place in the file
};

// "CW" as in permissions' pictures.
PermSet perms(std::string_view letters);

}  // namespace blocklayer::testing
