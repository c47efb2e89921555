// SPDX-License-Identifier: Apache-2.0
// BlockBackend: a root parent. What guest devices, jobs, exports and commands do I/O through.
//
// It may be without a medium: then its wish is only remembered and applied at insertion. While the
// node is drained its requests wait in line. Error policy lives here: what the guest device asks
// on an error (report, ignore, stop, enospc).
//
// invariant  in_flight counts requests from the first line of read/write/... to the last
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "blocklayer/graph/node.hpp"

namespace blocklayer {

class BlockLayer;

enum class OnError : std::uint8_t { report, ignore, stop, enospc, automatic };
enum class ErrorAction : std::uint8_t { report, ignore, stop };
enum class IoState : std::uint8_t { ok, failed, no_space };  // why the machine was stopped

// What a guest device wants to hear of its backend.
struct DeviceCallbacks {
    std::function<void()> drained_begin;
    std::function<void()> drained_end;
    std::function<bool()> drained_poll;  // true: the device still has something under way
    std::function<void()> resized;
    // Medium inserted (load) or ejected; may refuse a load.
    std::function<Status(bool load)> change_media;
    std::function<bool()> is_tray_open;
    std::function<bool()> is_medium_locked;
    std::function<void(bool force)> eject_request;
};

struct IoStatistics {  // query-blockstats; units: bytes, operations, ns
    std::uint64_t rd_bytes = 0, wr_bytes = 0, unmap_bytes = 0;
    std::uint64_t rd_operations = 0, wr_operations = 0, flush_operations = 0,
                  unmap_operations = 0;
    std::uint64_t failed_rd = 0, failed_wr = 0, failed_flush = 0, failed_unmap = 0;
    std::uint64_t invalid_rd = 0, invalid_wr = 0;
};

class BlockBackend final : public EdgeParent {
public:
    // wish: what it uses and shares. An empty name is a backend the monitor does not know.
    static std::unique_ptr<BlockBackend> make(BlockLayer& layer, Claim wish,
                                              std::string name = "");
    ~BlockBackend() override;

    BlockLayer& layer() const { return layer_; }
    const std::string& name() const { return name_; }
    Node* node() const { return root_ != nullptr ? &root_->child() : nullptr; }
    Edge* root() const { return root_; }
    bool has_medium() const { return root_ != nullptr; }
    // Of the medium, or of the last one that was removed; read-only when there was none.
    const NodeFlags& medium_flags() const { return root_ ? root_->child().flags() : last_flags_; }

    Status insert(Node& node);  // attaches with the remembered wish
    void remove();              // the wish is kept; the medium must be drained
    // Moves the edge, e.g. qom-set of a live device's drive.
    Status replace(Node& node);
    Status set_wish(Claim wish);
    const Claim& wish() const { return wish_; }

    // A guest device takes the backend; its id or QOM path names it from then on.
    Status attach_device(std::string id, std::string qom_path, DeviceCallbacks callbacks);
    void detach_device();
    bool has_device() const { return !qom_path_.empty(); }
    const std::string& device_id() const { return device_id_; }
    const std::string& qom_path() const { return qom_path_; }
    DeviceCallbacks& callbacks() { return callbacks_; }

    std::uint64_t length() const;  // bytes; 0 without a medium
    bool read_only() const;

    // Requests. units: bytes. errors: no_medium; io outside the medium; what the node says.
    IoStatus read(sim::Co& co, std::uint64_t offset, sim::IoView into, RequestFlags flags = {});
    IoStatus write(sim::Co& co, std::uint64_t offset, sim::IoView from, RequestFlags flags = {});
    IoStatus write_zeroes(sim::Co& co, std::uint64_t offset, std::uint64_t length,
                          RequestFlags flags = {});
    IoStatus discard(sim::Co& co, std::uint64_t offset, std::uint64_t length);
    IoStatus flush(sim::Co& co);
    Status truncate(sim::Co& co, std::uint64_t size, bool exact,
                    std::string_view preallocation = "off", RequestFlags flags = {});

    IoStatus make_empty(sim::Co& co);  // see Edge

    // What to do about a failed guest request; emits BLOCK_IO_ERROR and stops the machine if so.
    ErrorAction on_error(bool is_read, Errno error);
    OnError rerror = OnError::automatic, werror = OnError::automatic;
    bool keeps_io_state = false;  // its device is of a kind that has error policies
    // The first error that stopped the machine, until that goes on.
    IoState io_state = IoState::ok;
    bool shows_io_state() const;  // some error would stop the machine
    bool write_cache = true;          // false: every write is followed by a flush
    bool allow_write_beyond_end = false;
    bool share_rw_medium = false;
    // Requests wait while drained unless the owner handles that itself (jobs).
    bool queue_when_drained = true;
    // May be inactivated at migration although it writes (a mirror's target).
    bool allow_inactivate = false;

    // A device has begun a request whose fiber has yet to run. A machine that stops waits for those
    // first: a drained section would have them stand in line, and go on when it is over. Counted
    // here and not by the machine, so that steps of different disks commute.
    void announce() { ++announced_; }
    void arrived();
    std::uint64_t announced() const { return announced_; }
    // Requests that stood in line through a drained section, which is over, and have yet to go on.
    std::uint64_t resuming() const { return quiesced_ > 0 ? 0 : parked_; }
    std::uint64_t in_flight() const { return in_flight_; }
    IoStatistics statistics;
    // False: its device has not begun to work, so others need not follow it to its thread.
    bool holds_thread = true;
    void set_thread(sim::Thread& thread) { thread_ = &thread; }
    sim::Thread& thread() const { return *thread_; }

    // EdgeParent
    std::string describe() const override;
    std::string describe_2_9() const override;
    BlockBackend* as_backend() override { return this; }
    void drained_begin(Edge& edge) override;
    void drained_end(Edge& edge) override;
    bool busy(const Edge& edge) const override;
    void child_resized(Edge& edge) override;
    void child_replaced(Edge& edge) override;

private:
    friend class BlockLayer;
    class InFlight;
    BlockBackend(BlockLayer& layer, Claim wish, std::string name);
    IoStatus check_range(std::uint64_t offset, std::uint64_t length) const;

    BlockLayer& layer_;
    std::string name_;
    Claim wish_;
    Edge* root_ = nullptr;
    NodeFlags last_flags_{.read_only = true};
    std::string device_id_, qom_path_;
    DeviceCallbacks callbacks_;
    sim::Thread* thread_;
    sim::Subject subject_;
    sim::WaitQueue resumed_{"end of drained section"};
    std::uint64_t in_flight_ = 0, announced_ = 0, parked_ = 0;
    int quiesced_ = 0;
};

}  // namespace blocklayer
