// SPDX-License-Identifier: Apache-2.0
// VirtioBlk: a guest operating system's driver for virtio-blk.
//
// Two ways in: calls that wait (GuestDisk), and submit() with a completion handler for code that
// keeps a queue full. Both take a slot of a ring; a slot has its own header and status byte.
//
// source  VIRTIO 1.2 section 5.2.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "hwmodels/guest/disk.hpp"
#include "hwmodels/guest/virtio_pci.hpp"
#include "sim/sync.hpp"

namespace hwmodels::guest {

enum class BlkOp : std::uint32_t {
    read = 0,
    write = 1,
    flush = 4,
    get_id = 8,
    discard = 11,
    write_zeroes = 13,
};

struct BlkOptions {
    std::uint16_t queues_max = 64;
    std::uint16_t queue_size_max = 256;
    std::uint64_t features_off = 0;             // not negotiated although offered
    std::uint32_t segment_bytes_max = 0;        // 0: data goes in one piece
    std::uint64_t request_bytes_max = 1 << 20;  // longer ones are cut
};

class VirtioBlk final : public GuestDisk {
public:
    using Handler = std::function<void(std::uint64_t tag, std::uint8_t status)>;

    // Drives the function; waits for the device's reset.
    static blocklayer::Result<std::unique_ptr<VirtioBlk>> attach(sim::Co& co, Machine& machine,
                                                                 int devfn,
                                                                 const BlkOptions& options = {});
    // The same for a device found by its id.
    static blocklayer::Result<std::unique_ptr<VirtioBlk>> attach(sim::Co& co, Machine& machine,
                                                                 std::string_view device_id,
                                                                 const BlkOptions& options = {});
    ~VirtioBlk() override;

    std::uint64_t length() const override;
    std::uint32_t block_size() const override { return block_size_; }
    bool read_only() const override;
    sim::IoStatus read(sim::Co& co, std::uint64_t offset, std::span<std::byte> into) override;
    sim::IoStatus write(sim::Co& co, std::uint64_t offset,
                        std::span<const std::byte> from) override;
    sim::IoStatus flush(sim::Co& co) override;
    sim::IoStatus discard(sim::Co& co, std::uint64_t offset, std::uint64_t length) override;
    sim::IoStatus write_zeroes(sim::Co& co, std::uint64_t offset, std::uint64_t length,
                               bool may_unmap) override;
    sim::IoResult<std::string> serial(sim::Co& co);
    void set_write_cache(bool on);
    void shut_down(sim::Co& co) override;
    void surprise_removed() override;
    // Resets the device under its requests (which fail with Errno::canceled) and starts it anew.
    blocklayer::Status reset(sim::Co& co);

    // ---- keeping a queue full ----
    std::size_t queue_count() const { return queues_.size(); }
    void set_handler(Handler handler) { handler_ = std::move(handler); }
    // Data lies in guest memory. False: the queue is full. The device hears of it at kick().
    bool submit(std::size_t queue, BlkOp op, std::uint64_t offset, GuestAddress data,
                std::uint32_t length, std::uint64_t tag);
    void kick(std::size_t queue) { driver_->kick(queue); }
    std::uint64_t in_flight() const { return in_flight_; }
    VirtioPciDriver& transport() { return *driver_; }

private:
    struct Waiter {
        sim::Fiber* fiber = nullptr;
        sim::IoStatus status;
        bool done = false;
    };
    struct Slot {
        std::uint64_t tag = 0;
        Waiter* waiter = nullptr;  // a call that waits, or nullptr: the handler is told
        GuestAddress data = 0;
        std::uint32_t length = 0;
        BlkOp op = BlkOp::flush;
        bool shaped = false;  // the ring holds descriptors for data, length and op
        std::byte* header = nullptr;
        std::byte* status = nullptr;
    };
    struct Queue {
        std::vector<Slot> slots;
        std::vector<std::uint16_t> free;
        GuestAddress headers = 0;
        sim::WaitQueue has_room{"slot of a guest's ring"};
    };
    VirtioBlk(std::unique_ptr<VirtioPciDriver> driver, const BlkOptions& options);
    blocklayer::Status start(sim::Co& co);
    void drop_queues();
    void on_interrupt(std::size_t index);
    bool put(std::size_t index, BlkOp op, std::uint64_t offset, GuestAddress data,
             std::uint32_t length, std::uint64_t tag, Waiter* waiter);
    sim::IoStatus request(sim::Co& co, BlkOp op, std::uint64_t offset, GuestAddress data,
                          std::uint32_t length);
    sim::IoStatus range_request(sim::Co& co, BlkOp op, std::uint64_t offset, std::uint64_t length,
                                std::uint32_t flags);
    void fail_all(sim::Errno error);

    // Buffers of its own: who uses another disk does not see which of them are taken.
    static constexpr std::uint64_t buffer_bytes = 4096;

    std::unique_ptr<VirtioPciDriver> driver_;
    const GuestAddress buffers_at_;  // 0: none
    GuestHeap buffers_;
    BlkOptions options_;
    std::vector<std::unique_ptr<Queue>> queues_;
    Handler handler_;
    std::vector<Segment> segments_;  // of the request being put, kept for the next one
    std::size_t next_queue_ = 0;
    std::uint64_t in_flight_ = 0;
    std::uint32_t block_size_ = 512;
    sim::WaitQueue idle_{"guest disk's requests"};
    bool gone_ = false, closing_ = false;
};

}  // namespace hwmodels::guest
