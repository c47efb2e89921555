// SPDX-License-Identifier: Apache-2.0
// Mirror: makes a second node equal to a source that is in use, keeps it so, and then puts it in
// the source's place. Active commit is a mirror whose target is the backing image.
//
// A filter, mirror_top, stands above the source. What a guest writes marks bits when it has ended
// (copy mode background), or is written to the target as well before the guest hears of it
// (write-blocking). The job copies what is marked, each range by one operation at a time.
//
// invariant  a clean granule without an operation under way is equal in source and target
// source     QAPI block-core.json blockdev-mirror; graphs and texts as observed
#pragma once
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>

#include "blocklayer/graph/drain.hpp"
#include "blocklayer/jobs/block_job.hpp"

namespace blocklayer {

class DirtyBitmap;
class MirrorTop;
class Transaction;

enum class MirrorSync : std::uint8_t { full, top, none };

struct MirrorOptions {
    JobOptions job;
    JobType type = JobType::mirror;  // commit: target is below the source
    MirrorSync sync = MirrorSync::full;
    bool write_blocking = false;
    std::uint32_t granularity = 0;   // 0: the target's cluster, within reason
    std::uint64_t buffer_bytes = 0;  // 0: the default
    std::int64_t speed = 0;
    OnError on_source_error = OnError::report, on_target_error = OnError::report;
    std::string replaces;  // node to put the target in place of; empty: the source
    std::optional<std::string> filter_node_name;
    bool unmap = true;
};

class Mirror final : public BlockJob {
public:
    // Inserts the filter, takes source and target, and starts.
    static Status launch(sim::Co& co, Node& source, Node& target, MirrorOptions options);

    Mirror(BlockLayer& layer, MirrorOptions options);
    ~Mirror() override;

    // ---- for mirror_top ----------------------------------------------------------------------
    enum class Change : std::uint8_t { write, zero, discard };
    bool write_blocking() const { return options_.write_blocking; }
    // write-blocking: changes the source (by `change_source`) and then the target, with copies and
    // other changes of this range kept out meanwhile.
    IoStatus change_both(sim::Co& co, Change change, std::uint64_t offset, std::uint64_t length,
                         sim::IoView data,
                         const std::function<IoStatus(sim::Co&)>& change_source);

protected:
    Status run(sim::Co& co) override;
    Status prepare(sim::Co& co) override;
    void abort(sim::Co& co) override;
    void clean(sim::Co& co) override;
    void before_pause(sim::Co& co) override;
    bool on_cancel(bool force) override;
    bool can_complete() const override { return is_ready(); }
    Status on_complete(sim::Co& co) override;
    Status check_end(bool with_result) override;
    bool has_requests() const override { return in_flight_ > 0; }
    using Job::busy;
    bool busy(const Edge& edge) const override;

private:
    struct Operation;
    struct Piece {
        std::uint64_t offset, length;
        Change change;
    };

    Status insert_filter(sim::Co& co, Node& source);
    Status take_nodes(Node& source, Node& target);
    Status take_intermediate(Node& source, Node& target);
    Status match_sizes(sim::Co& co);
    Status swap_in_target(sim::Co& co);
    Status make_final_graph(Transaction& tx, bool with_result);
    void remove_filter(sim::Co& co);
    void drop_bitmap();
    void drop_target();
    void become_ready();
    void source_changed();
    bool stand_still(sim::Co& co);

    // ---- copying (mirror_copy.cpp) -----------------------------------------------------------
    IoStatus find_dirty(sim::Co& co);
    IoStatus zero_target(sim::Co& co);
    sim::Duration copy_run(sim::Co& co);
    bool next_run(sim::Co& co, std::uint64_t& begin, std::uint64_t& end);
    Piece next_piece(sim::Co& co, std::uint64_t offset, std::uint64_t end);
    void start_copy(Piece piece);
    IoStatus copy(sim::Co& co, const Piece& piece, bool& is_read);
    IoStatus change_target(sim::Co& co, Change change, std::uint64_t offset, std::uint64_t length,
                           sim::IoView data);
    void request_failed(OnError policy, bool is_read, Errno error);
    void wait_for_operation(sim::Co& co) { operation_over_.wait(co); }
    void wait_for_copies(sim::Co& co);
    Operation* overlapping(std::uint64_t begin, std::uint64_t end, const Operation* but) const;
    void wait_for_range(sim::Co& co, std::uint64_t begin, std::uint64_t end,
                        const Operation* but);
    bool slot_free() const { return in_flight_ < slots_; }
    std::uint64_t aligned_down(std::uint64_t offset) const { return offset - offset % unit_; }
    std::uint64_t aligned_up(std::uint64_t offset) const;
    bool interrupted() const;

    MirrorOptions options_;
    NodeRef source_, filter_, target_node_, replaced_;
    MirrorTop* top_ = nullptr;
    std::unique_ptr<BlockBackend> target_;
    DirtyBitmap* dirty_ = nullptr;  // belongs to the source node
    std::uint64_t unit_ = 1;        // operations begin and end at multiples of this
    bool whole_units_ = false;      // the target has nothing to fill up a part of a unit with
    std::uint64_t slots_ = 1, chunk_bytes_ = 1, buffer_bytes_ = 1;
    std::uint64_t cursor_ = 0;
    std::list<Operation*> operations_;  // ranges nobody else may touch
    std::uint64_t in_flight_ = 0, bytes_in_flight_ = 0;  // copies
    sim::WaitQueue operation_over_{"mirror operation"};
    std::optional<Errno> failed_;
    bool should_complete_ = false;
    bool onto_backing_ = false;  // the target is in the source's own chain
    bool frozen_ = false;   // the chain down to the target
    bool draining_ = false;  // a section of our own: not to be waited for
    bool retry_later_ = false;
    std::unique_ptr<DrainedSection> drained_;  // from the last look at the bitmap to the swap
    sim::Instant idle_since_;
    sim::Timer look_again_;
};

}  // namespace blocklayer
