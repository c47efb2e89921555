// SPDX-License-Identifier: Apache-2.0
// CheckedDisk: a guest's disk whose every read is held against what was written.
//
// A read that returns what it may not stops the run as a broken invariant. The oracle outlives the
// disk: a disk that is plugged in again, or moved by a job, still has its contents.
#pragma once
#include <memory>

#include "hwmodels/guest/content_oracle.hpp"
#include "hwmodels/guest/disk.hpp"
#include "sim/world.hpp"

namespace hwmodels::guest {

class CheckedDisk final : public GuestDisk {
public:
    // No oracle: nothing is checked.
    CheckedDisk(std::unique_ptr<GuestDisk> disk, std::shared_ptr<ContentOracle> oracle)
        : disk_(std::move(disk)), oracle_(std::move(oracle)) {}
    // The disk has no volatile cache: an acknowledged write is on the medium.
    void set_write_through() { write_through_ = true; }
    // Where its driver is: its requests touch nothing else above the disk.
    void keeps_to(sim::Place place) { place_ = place; }

    std::uint64_t length() const override { return disk_->length(); }
    std::uint32_t block_size() const override { return disk_->block_size(); }
    bool read_only() const override { return disk_->read_only(); }
    sim::IoStatus read(sim::Co& co, std::uint64_t offset, std::span<std::byte> into) override;
    sim::IoStatus write(sim::Co& co, std::uint64_t offset,
                        std::span<const std::byte> from) override;
    sim::IoStatus flush(sim::Co& co) override;
    sim::IoStatus discard(sim::Co& co, std::uint64_t offset, std::uint64_t length) override;
    sim::IoStatus write_zeroes(sim::Co& co, std::uint64_t offset, std::uint64_t length,
                               bool may_unmap) override;
    void shut_down(sim::Co& co) override { disk_->shut_down(co); }
    void surprise_removed() override { disk_->surprise_removed(); }

    // From here on; requests under way are none of its business.
    void set_oracle(std::shared_ptr<ContentOracle> oracle) { oracle_ = std::move(oracle); }

    GuestDisk& disk() { return *disk_; }
    ContentOracle& oracle() { return *oracle_; }
    const std::shared_ptr<ContentOracle>& shared_oracle() const { return oracle_; }

private:
    class Request;

    std::unique_ptr<GuestDisk> disk_;
    std::shared_ptr<ContentOracle> oracle_;
    sim::Place place_;
    bool write_through_ = false;
};

}  // namespace hwmodels::guest
