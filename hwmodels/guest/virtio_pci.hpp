// SPDX-License-Identifier: Apache-2.0
// VirtioPciDriver: the guest's side of a virtio PCI function: finds the registers by their
// capabilities, negotiates features, sets up queues and vectors, rings doorbells.
//
// source  VIRTIO 1.2 sections 3.1 (initialisation) and 4.1 (PCI).
#pragma once
#include <functional>
#include <memory>
#include <vector>

#include "hwmodels/guest/bounce.hpp"
#include "hwmodels/guest/ring.hpp"
#include "hwmodels/machine.hpp"

namespace hwmodels::guest {

class VirtioPciDriver {
public:
    // errors: not a virtio function; a register range does not lie in a mapped BAR.
    static blocklayer::Result<std::unique_ptr<VirtioPciDriver>> probe(Machine& machine, int devfn);
    ~VirtioPciDriver();
    VirtioPciDriver(const VirtioPciDriver&) = delete;
    VirtioPciDriver& operator=(const VirtioPciDriver&) = delete;

    Machine& machine() const { return machine_; }
    std::uint16_t pci_device_id() const { return pci_device_; }
    std::uint64_t device_features() const;
    // Steps 1 to 6 of the initialisation. errors: the device does not accept the features.
    blocklayer::Status negotiate(sim::Co& co, std::uint64_t features);
    std::uint64_t features() const { return features_; }
    std::size_t queue_count() const;
    // Sets queue `index` up; `on_interrupt` runs when the device used buffers, and touches nothing
    // but the driver.
    blocklayer::Status setup_queue(std::size_t index, std::uint16_t size_max,
                                   std::function<void()> on_interrupt);
    void set_config_handler(std::function<void()> handler);
    void driver_ok();
    // Writes 0 to the status and waits until it reads back as 0; forgets the queues.
    void reset(sim::Co& co);
    bool needs_reset() const;

    Ring& ring(std::size_t index) { return *queues_[index].ring; }
    void kick(std::size_t index) {
        if (queues_[index].ring->take_kick()) ring_doorbell(index);
    }
    void ring_doorbell(std::size_t index);
    std::uint64_t config(std::uint32_t offset, std::uint32_t size) const;
    void write_config(std::uint32_t offset, std::uint32_t size, std::uint64_t value);
    // The device went away: only forgets, touches no register.
    void forget();

    // Registers of the common configuration, for tests.
    std::uint64_t common(std::uint32_t offset, std::uint32_t size) const;
    void write_common(std::uint32_t offset, std::uint32_t size, std::uint64_t value);

private:
    struct Queue {
        std::unique_ptr<Ring> ring;
        MsiMessage vector;
        bool has_vector = false;
        std::uint64_t doorbell = 0;
    };
    explicit VirtioPciDriver(Machine& machine) : machine_(machine) {}
    void write_msix(std::uint32_t entry, const MsiMessage& message);
    void free_vectors();

    Machine& machine_;
    sim::Place place_;  // the function's
    std::uint16_t pci_device_ = 0;
    std::uint64_t common_ = 0, notify_ = 0, device_ = 0, msix_table_ = 0;
    std::uint32_t notify_multiplier_ = 0, msix_capability_ = 0;
    std::uint64_t features_ = 0;
    std::vector<Queue> queues_;
    MsiMessage config_vector_;
    bool has_config_vector_ = false;
};

}  // namespace hwmodels::guest
