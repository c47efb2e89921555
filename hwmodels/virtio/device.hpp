// SPDX-License-Identifier: Apache-2.0
// VirtioDevice: status, features, queues and configuration space of a virtio device, whatever bus
// carries it. The model of one kind of device derives from it.
//
// Doorbells are deferred: they post an event in the device's thread, which empties the queue. A
// reset takes as long as the requests in flight do; until then the status register does not read 0.
//
// source     VIRTIO 1.2 sections 2.1 (status), 2.2 (features), 2.5 (configuration), 2.4 (reset).
// invariant  a request is completed into the ring at most once, and never after a reset
#pragma once
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "blocklayer/errors.hpp"
#include "hwmodels/qdev/device.hpp"
#include "hwmodels/virtio/queue.hpp"
#include "sim/check.hpp"
#include "sim/sync.hpp"
#include "sim/world.hpp"

namespace hwmodels {

namespace virtio {
constexpr std::uint8_t status_acknowledge = 1, status_driver = 2, status_driver_ok = 4,
                       status_features_ok = 8, status_needs_reset = 64, status_failed = 128;
constexpr std::uint64_t feature_indirect = 1ULL << 28, feature_event_index = 1ULL << 29,
                        feature_version_1 = 1ULL << 32, feature_ring_reset = 1ULL << 40;
constexpr std::uint16_t no_vector = 0xffff;
constexpr std::uint8_t isr_queue = 1, isr_config = 2;
}  // namespace virtio

// The bus side: how the device gets the driver's attention.
class VirtioTransport {
public:
    virtual ~VirtioTransport() = default;
    virtual void interrupt(std::uint16_t vector, std::uint8_t reason) = 0;
    virtual sim::Place place() const = 0;
};

class VirtioDevice {
public:
    VirtioDevice(Device& host, VirtioTransport& transport) : host_(host), transport_(transport) {}
    VirtioDevice(const VirtioDevice&) = delete;
    VirtioDevice& operator=(const VirtioDevice&) = delete;
    virtual ~VirtioDevice() = default;

    // ---- life, called by the transport ----
    virtual blocklayer::Status realize(sim::Co& co) = 0;
    virtual void unrealize(sim::Co& co) = 0;
    virtual blocklayer::Status set_drive(std::string_view) { return {}; }
    virtual blocklayer::Status change_drive(std::string_view) { return {}; }
    virtual blocklayer::BlockBackend* backend() const { return nullptr; }
    virtual void run_state_changed(bool running);

    // ---- what the driver sees ----
    virtual std::uint64_t device_features() const = 0;
    std::uint64_t offered_features() const { return device_features() | common_features_; }
    std::uint64_t driver_features = 0;
    bool has_feature(std::uint64_t feature) const { return (driver_features & feature) != 0; }
    std::uint8_t status() const { return status_; }
    void write_status(std::uint8_t value);
    // Configuration space; writes of what is read-only are dropped.
    std::uint64_t config_read(std::uint64_t offset, std::uint32_t size);
    virtual void config_write(std::uint64_t /*offset*/, std::uint32_t /*size*/,
                              std::uint64_t /*value*/) {}
    std::uint8_t config_generation() const { return generation_; }
    std::uint16_t config_vector = virtio::no_vector;
    std::size_t queue_count() const { return queues_.size(); }
    VirtQueue& queue(std::size_t index) { return queues_[index]->ring; }
    void enable_queue(std::size_t index);
    // The queue starts anew once the requests from it are over; until then queue_resetting().
    void reset_queue(std::size_t index);
    bool queue_resetting(std::size_t index) const { return queues_[index]->resetting; }
    void notify(std::size_t index);  // the doorbell
    void reset();                    // from the driver or the machine

    // ---- for the model ----
    void config_changed();  // tells the driver
    // The guest gave us nonsense: nothing more happens until it resets the device.
    void set_broken();
    bool broken() const { return (status_ & virtio::status_needs_reset) != 0; }
    bool driver_ok() const { return (status_ & virtio::status_driver_ok) != 0; }
    Device& host() const { return host_; }

protected:
    // The model's requests touch nothing but the device, what its driver shares with it, and nodes
    // through its backend.
    void keeps_to_itself();
    sim::Place place() const { return place_; }
    // Handles what is in the queue; called in an event of the device's thread.
    virtual void on_notify(std::size_t index) = 0;
    virtual void on_reset() {}
    virtual void on_queue_reset(std::size_t /*index*/) {}
    virtual void on_driver_ok() {}
    virtual void fill_config(std::vector<std::byte>& config) = 0;
    void add_queues(std::size_t count, std::uint16_t size, sim::Thread& thread);
    void drop_queues() {
        INVARIANT(in_flight_ == 0);  // requests refer to their queue and to the drive
        queues_.clear();
    }
    sim::Thread& thread() const { return *thread_; }
    // Requests between pop and completion; those of an earlier epoch complete into nothing.
    std::uint64_t epoch() const { return epoch_; }
    void begin_request() { ++in_flight_; }
    void end_request();
    std::uint64_t in_flight() const { return in_flight_; }
    void wait_requests(sim::Co& co);
    void complete(std::size_t queue, std::uint16_t head, std::uint32_t written);
    // While paused queues are left alone: the machine stands still or the node is drained.
    void pause() { ++paused_; }
    void unpause();
    bool may_run() const { return paused_ == 0 && driver_ok() && !broken() && !resetting_; }

private:
    struct Queue {
        Queue(VirtioDevice& device, std::size_t index, sim::Thread& thread);
        VirtQueue ring;
        sim::Timer doorbell;
        std::uint16_t default_size = 0;
        bool resetting = false;
    };
    void serve(std::size_t index);
    void finish_reset();
    void finish_queue_reset(Queue& queue);

    Device& host_;
    VirtioTransport& transport_;
    sim::Thread* thread_ = nullptr;
    sim::Place place_;
    std::vector<std::unique_ptr<Queue>> queues_;
    std::vector<std::byte> config_;
    sim::WaitQueue idle_{"device's requests"};
    std::uint64_t common_features_ = 0;  // what every kind of device offers
    std::uint64_t in_flight_ = 0, epoch_ = 0;
    int paused_ = 0;
    std::uint8_t status_ = 0, generation_ = 0;
    bool resetting_ = false;
    bool stopped_ = false;  // the machine stands still: counted in paused_ too
};

}  // namespace hwmodels
