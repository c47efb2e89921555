// SPDX-License-Identifier: Apache-2.0
// VirtioScsi: a guest operating system's driver for the virtio SCSI host adapter.
//
// One per adapter, shared by the disks behind it (adapter_at). Commands go round over the command
// queues; task management has a queue of its own; buffers for events are always with the device.
//
// source     VIRTIO 1.2 section 5.6.
// invariant  a slot belongs to one command from put() until its interrupt or the adapter's reset
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "hwmodels/guest/scsi.hpp"
#include "hwmodels/guest/virtio_pci.hpp"
#include "sim/sync.hpp"

namespace hwmodels::guest {

enum class TaskFunction : std::uint32_t {
    abort_task = 0,
    abort_task_set = 1,
    clear_aca = 2,
    clear_task_set = 3,
    target_reset = 4,
    lun_reset = 5,
    query_task = 6,
    query_task_set = 7,
};

// What the device told through the event queue.
struct ScsiEvent {
    std::uint32_t kind = 0;  // 1: units came or went, 3: a unit changed
    bool lost = false;       // there were more than buffers
    std::uint32_t target = 0, lun = 0, reason = 0;
};

struct ScsiAdapterOptions {
    std::uint16_t queues_max = 64, queue_size_max = 128;
    std::uint64_t features_off = 0;
};

class VirtioScsi : public std::enable_shared_from_this<VirtioScsi> {
public:
    // The driver of the adapter at this place; started when there is none yet.
    static blocklayer::Result<std::shared_ptr<VirtioScsi>> adapter_at(
        sim::Co& co, Machine& machine, int devfn, const ScsiAdapterOptions& options = {});
    ~VirtioScsi();

    Machine& machine() const { return driver_->machine(); }
    VirtioPciDriver& transport() { return *driver_; }
    std::unique_ptr<ScsiPath> path(std::uint32_t target, std::uint32_t lun);

    sim::IoStatus execute(sim::Co& co, ScsiCommand& command, std::uint32_t target,
                          std::uint32_t lun);
    // The device's answer as it gives it: 0 complete, 10 succeeded, 11 rejected, 12 no such unit.
    sim::IoResult<std::uint8_t> manage(sim::Co& co, TaskFunction function, std::uint32_t target,
                                       std::uint32_t lun, std::uint64_t tag = 0);
    // Resets the adapter under its commands (which fail with Errno::canceled) and starts it anew.
    blocklayer::Status reset(sim::Co& co);
    // Waits for the commands, then resets the device for good.
    void shut_down(sim::Co& co);
    void surprise_removed();

    std::function<void(const ScsiEvent&)> on_event;
    std::uint64_t in_flight() const { return in_flight_; }
    bool gone() const { return gone_; }

private:
    class Path;
    struct Waiter {
        sim::Fiber* fiber = nullptr;
        std::byte* response_bytes = nullptr;  // where the interrupt puts the device's answer
        sim::IoStatus status;
        bool done = false;
    };
    struct Queue {
        std::vector<Waiter*> waiters;  // by slot
        std::vector<std::uint16_t> free;
        GuestAddress area = 0;
        std::byte* bytes = nullptr;
        sim::WaitQueue has_room{"slot of a guest's ring"};
    };
    explicit VirtioScsi(std::unique_ptr<VirtioPciDriver> driver, const ScsiAdapterOptions& options)
        : driver_(std::move(driver)), options_(options) {}
    blocklayer::Status start(sim::Co& co);
    blocklayer::Status start_queue(std::size_t index);
    void drop_queues();
    void on_interrupt(std::size_t index);
    void take_events();
    void give_event_buffer(std::uint16_t slot);
    // A free slot of the queue, waiting for one. errors: no_medium, canceled.
    sim::IoResult<std::uint16_t> take_slot(sim::Co& co, std::size_t index);
    sim::IoStatus wait(sim::Co& co, std::size_t index, std::uint16_t slot, Waiter& waiter,
                       std::span<const Segment> segments);
    void fail_all(sim::Errno error);

    std::unique_ptr<VirtioPciDriver> driver_;
    ScsiAdapterOptions options_;
    std::vector<std::unique_ptr<Queue>> queues_;
    std::size_t next_queue_ = 0;
    std::uint64_t in_flight_ = 0, next_tag_ = 1, paths_ = 0, generation_ = 0;
    sim::WaitQueue idle_{"guest adapter's commands"};
    bool gone_ = false;
};

}  // namespace hwmodels::guest
