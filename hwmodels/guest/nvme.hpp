// SPDX-License-Identifier: Apache-2.0
// NvmeDisk: a guest operating system's driver for one NVMe controller and its first namespace.
//
// One admin queue pair, one pair for I/O; data goes in pieces that one page list describes.
//
// source     NVM Express 1.4.
// invariant  a slot of the I/O queue belongs to one command from submission to its completion
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "blocklayer/errors.hpp"
#include "hwmodels/guest/disk.hpp"
#include "hwmodels/machine.hpp"
#include "hwmodels/nvme/wire.hpp"
#include "sim/sync.hpp"

namespace hwmodels::guest {

// Entries of the queue pair for I/O; at most 64.
struct NvmeQueueShape {
    std::uint32_t submissions = 64, completions = 64;
};

class NvmeDisk final : public GuestDisk {
public:
    static blocklayer::Result<std::unique_ptr<NvmeDisk>> attach(sim::Co& co, Machine& machine,
                                                                int devfn);
    ~NvmeDisk() override;

    std::uint64_t length() const override { return length_; }
    std::uint32_t block_size() const override { return block_; }
    // There is no way to ask: a write tells.
    bool read_only() const override { return false; }
    sim::IoStatus read(sim::Co& co, std::uint64_t offset, std::span<std::byte> into) override;
    sim::IoStatus write(sim::Co& co, std::uint64_t offset,
                        std::span<const std::byte> from) override;
    sim::IoStatus flush(sim::Co& co) override;
    sim::IoStatus discard(sim::Co& co, std::uint64_t offset, std::uint64_t length) override;
    sim::IoStatus write_zeroes(sim::Co& co, std::uint64_t offset, std::uint64_t length,
                               bool may_unmap) override;
    void shut_down(sim::Co& co) override;
    void surprise_removed() override;

    // Disables the controller under its commands (which fail with Errno::canceled), starts it anew.
    blocklayer::Status reset(sim::Co& co, NvmeQueueShape shape = {});
    // The same of the queue pair for I/O only: deleted under its commands, made anew.
    blocklayer::Status remake_queue(sim::Co& co);
    // One command of the I/O or admin queue as it is; gives the status field.
    sim::IoResult<std::uint16_t> submit(sim::Co& co, bool admin, nvme::Command command);
    std::uint64_t read_register(std::uint64_t offset, std::uint32_t size) const;
    void write_register(std::uint64_t offset, std::uint32_t size, std::uint64_t value);

private:
    struct Waiter {
        sim::Fiber* fiber = nullptr;
        std::uint16_t status = 0;
        bool done = false, canceled = false;
    };
    struct Queue {
        GuestAddress submissions = 0, completions = 0;
        NvmeQueueShape shape;
        std::uint32_t tail = 0, head = 0;
        bool phase = true;
        std::vector<Waiter*> waiters;  // by command id
        std::vector<std::uint16_t> free;
    };
    NvmeDisk(Machine& machine, int devfn);
    blocklayer::Status start(sim::Co& co);
    void disable(sim::Co& co);
    blocklayer::Status start_io_queue(sim::Co& co);
    void make_queue(Queue& queue, NvmeQueueShape shape);
    void drop_queue(Queue& queue);
    void drop_queues();
    void on_interrupt();
    void poll(std::size_t index);
    void cancel_all(bool canceled);
    void cancel(Queue& queue, bool canceled);
    sim::IoStatus io(sim::Co& co, nvme::Command command);
    sim::IoStatus move(sim::Co& co, std::uint64_t offset, std::byte* bytes, std::uint64_t length,
                       bool write);

    Machine& machine_;
    std::uint64_t registers_ = 0;
    std::uint32_t line_ = 0;
    std::uint64_t handler_ = 0;
    Queue queues_[2];
    NvmeQueueShape io_shape_;
    std::uint64_t length_ = 0, in_flight_ = 0;
    std::uint32_t block_ = 512;
    bool gone_ = false, closing_ = false;
    bool resetting_ = false;  // I/O waits until the controller has its queue again
    sim::WaitQueue has_room_{"slot of a guest's nvme queue"}, idle_{"guest nvme commands"};
};

}  // namespace hwmodels::guest
