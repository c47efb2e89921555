// SPDX-License-Identifier: Apache-2.0
// ScsiGuestDisk: a guest operating system's disk driver above any SCSI host adapter.
//
// The adapter's driver gives a ScsiPath to one logical unit; everything above the command block is
// here: what the unit is, its capacity, reads and writes, sense data, retries.
//
// source  SPC-4, SBC-3.
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "blocklayer/errors.hpp"
#include "hwmodels/guest/disk.hpp"
#include "hwmodels/machine.hpp"
#include "hwmodels/scsi/wire.hpp"
#include "sim/sync.hpp"

namespace hwmodels::guest {

enum class DataDirection : std::uint8_t { none, from_device, to_device };

struct ScsiCommand {
    std::array<std::byte, 16> cdb{};
    std::uint8_t cdb_bytes = 6;
    DataDirection direction = DataDirection::none;
    GuestAddress data = 0;
    std::uint32_t length = 0;  // bytes
    // Results.
    std::uint64_t tag = 0;  // known from when the adapter has it, for aborts
    std::uint8_t status = scsi::good;
    scsi::Sense sense;
    std::uint64_t residual = 0;  // bytes not moved
    bool overrun = false;        // the unit had more to move than there was room

    void set(std::size_t at, int bytes, std::uint64_t value) {
        scsi::put_be(&cdb[at], bytes, value);
    }
};

// What a driver may reset when commands do not come back.
enum class ScsiReset : std::uint8_t { tasks, unit, bus, adapter };

// The way to one logical unit.
class ScsiPath {
public:
    virtual ~ScsiPath() = default;
    virtual Machine& machine() const = 0;
    // errors: the unit gave no answer: no_medium: it is gone; canceled: aborted or reset; io.
    virtual sim::IoStatus execute(sim::Co& co, ScsiCommand& command) = 0;
    // Ends commands in flight, which fail with canceled. errors: not_supported: this adapter has no
    // such reset.
    virtual sim::IoStatus reset(sim::Co& co, ScsiReset what) = 0;
    // Lets go of the adapter; the last path of an adapter stops it.
    virtual void shut_down(sim::Co& co) = 0;
    virtual void surprise_removed() = 0;
};

// Runs a command, and after a check condition another one for its sense data, through an adapter
// that does not bring them along. `execute` gives one command to the unit.
sim::IoStatus execute_with_sense(
    Machine& machine, ScsiCommand& command,
    const std::function<sim::IoStatus(ScsiCommand& command)>& execute);

class ScsiGuestDisk final : public GuestDisk {
public:
    static blocklayer::Result<std::unique_ptr<GuestDisk>> attach(sim::Co& co,
                                                                 std::unique_ptr<ScsiPath> path);

    std::uint64_t length() const override { return length_; }
    std::uint32_t block_size() const override { return block_size_; }
    bool read_only() const override { return read_only_; }
    sim::IoStatus read(sim::Co& co, std::uint64_t offset, std::span<std::byte> into) override;
    sim::IoStatus write(sim::Co& co, std::uint64_t offset,
                        std::span<const std::byte> from) override;
    sim::IoStatus flush(sim::Co& co) override;
    sim::IoStatus discard(sim::Co& co, std::uint64_t offset, std::uint64_t length) override;
    sim::IoStatus write_zeroes(sim::Co& co, std::uint64_t offset, std::uint64_t length,
                               bool may_unmap) override;
    void shut_down(sim::Co& co) override;
    void surprise_removed() override;

    // ---- beyond a plain disk ----
    ScsiPath& path() { return *path_; }
    bool is_cd() const { return type_ == 5; }
    const std::string& product() const { return product_; }
    // Capacity and write protection anew, as after a medium came. errors: no_medium.
    sim::IoStatus revalidate(sim::Co& co);
    // CD: the tray opens or closes, unless it is locked.
    sim::IoStatus load_or_eject(sim::Co& co, bool load);
    sim::IoStatus lock_door(sim::Co& co, bool lock);
    // One command as it is: no retry, no interpretation. Counts as in flight.
    sim::IoStatus execute_raw(sim::Co& co, ScsiCommand& command);
    const scsi::Sense& last_sense() const { return last_sense_; }

private:
    explicit ScsiGuestDisk(std::unique_ptr<ScsiPath> path) : path_(std::move(path)) {}
    blocklayer::Status identify(sim::Co& co);
    sim::IoStatus refresh(sim::Co& co);  // what is stale
    sim::IoStatus read_capacity(sim::Co& co);
    sim::IoStatus read_limits(sim::Co& co);
    // Runs it until it works or fails for good; unit attentions are taken note of and retried.
    sim::IoStatus run(sim::Co& co, ScsiCommand& command);
    sim::IoStatus move(sim::Co& co, std::uint64_t offset, std::byte* bytes, std::uint64_t length,
                       bool write);
    bool fits_blocks(std::uint64_t offset, std::uint64_t length) const;

    std::unique_ptr<ScsiPath> path_;
    std::uint64_t length_ = 0;
    std::uint32_t block_size_ = 512;
    std::uint64_t unmap_blocks_max_ = 0;
    std::uint8_t type_ = 0;
    bool read_only_ = false, gone_ = false, closing_ = false, stale_ = false;
    std::string product_;
    scsi::Sense last_sense_;
    std::uint64_t in_flight_ = 0;
    sim::WaitQueue idle_{"guest scsi disk's requests"};
    sim::Mutex refreshing_{"guest scsi disk's capacity"};
};

}  // namespace hwmodels::guest
