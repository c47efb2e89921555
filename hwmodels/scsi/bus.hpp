// SPDX-License-Identifier: Apache-2.0
// ScsiBus and ScsiRequest: what is between a host adapter and the logical units behind it.
//
// A request runs in a fiber of its own, from the adapter's call of execute() to its return. An
// abort only marks it: its I/O cannot be taken back, and whoever aborts waits for its end.
//
// source  SAM-5 (tasks, task management), SPC-4.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "blocklayer/errors.hpp"
#include "hwmodels/qdev/device.hpp"
#include "hwmodels/scsi/wire.hpp"
#include "sim/io_view.hpp"
#include "sim/sync.hpp"

namespace sim {
class Thread;
}

namespace hwmodels {

class ScsiDevice;

enum class Abort : std::uint8_t { none, aborted, reset };

struct ScsiRequest {
    std::array<std::byte, 16> cdb{};
    std::uint64_t tag = 0;
    std::uint16_t lun = 0;  // as addressed, which may be one that does not exist
    sim::IoView to_device, from_device;
    // Results.
    std::uint8_t status = scsi::good;
    scsi::Sense sense;
    std::uint64_t transferred = 0;  // bytes that really went either way
    bool overrun = false;           // the device had more to say than there is room
    Abort abort = Abort::none;

    std::uint8_t op() const { return std::to_integer<std::uint8_t>(cdb[0]); }
    std::uint64_t field(std::size_t at, int bytes) const { return scsi::get_be(&cdb[at], bytes); }
    bool bit(std::size_t at, unsigned number) const {
        return (std::to_integer<unsigned>(cdb[at]) >> number & 1) != 0;
    }
    void fail(const scsi::Sense& with) {
        status = scsi::check_condition;
        sense = with;
    }
    // Gives the initiator these bytes, cut to what it allows and has room for.
    void reply(const std::byte* bytes, std::size_t size, std::size_t allowed) {
        const std::size_t length = std::min(size, allowed);
        const std::size_t fits = std::min(length, from_device.size());
        from_device.sub(0, fits).copy_from(bytes);
        transferred = fits;
        overrun = fits < length;
    }
    // The same, filled with zeros up to what it allows.
    void reply_padded(const std::byte* bytes, std::size_t size, std::size_t allowed) {
        reply(bytes, size, allowed);
        const std::size_t fits = std::min(allowed, from_device.size());
        if (fits <= transferred) return;
        from_device.sub(transferred, fits - transferred).fill(std::byte{0});
        transferred = fits;
    }
};

// What the adapter of a bus does for the units on it.
class ScsiHost {
public:
    virtual ~ScsiHost() = default;
    virtual sim::Thread& thread() const = 0;
    virtual bool supports_iothread() const { return false; }
    // A unit has all it needs; the adapter may still refuse it.
    virtual blocklayer::Status unit_added(ScsiDevice& device) = 0;
    virtual void unit_removed(ScsiDevice& device) = 0;
    virtual void unit_attention(ScsiDevice& device, const scsi::Sense& sense) = 0;
};

struct ScsiLimits {
    std::uint32_t channel_max = 0, target_max = 255, lun_max = 16383;
};

class ScsiBus final : public Bus {
public:
    ScsiBus(std::string name, Device* owner, ScsiHost& host, ScsiLimits limits)
        : Bus(std::move(name), "SCSI", owner), host_(host), limits_(limits) {}

    ScsiHost& host() const { return host_; }
    // Checks the address in the device's properties, or finds a free one, and sets it.
    blocklayer::Status place(ScsiDevice& device);
    ScsiDevice* find(std::uint32_t channel, std::uint32_t target, std::uint32_t lun) const;
    // Any unit of the target: it answers for units that do not exist.
    ScsiDevice* find_target(std::uint32_t channel, std::uint32_t target) const;
    std::vector<ScsiDevice*> units(std::uint32_t channel, std::uint32_t target) const;  // by lun

private:
    ScsiHost& host_;
    ScsiLimits limits_;
};

class ScsiDevice : public Device {
public:
    using Device::Device;
    ScsiBus& scsi_bus() const { return static_cast<ScsiBus&>(*bus()); }
    std::uint32_t channel = 0, target = 0, lun = 0;  // its place, once placed
    bool placed = false;

    // What a block is in command blocks, in bytes.
    virtual std::uint32_t block_bytes() const = 0;
    // Serves one request from its start to its end.
    void execute(sim::Co& co, ScsiRequest& request);
    // Marks requests as aborted; the caller waits with wait_requests. tag: only this one.
    // Gives how many there were.
    std::size_t abort_requests(Abort how, const std::uint64_t* tag = nullptr);
    bool has_request(const std::uint64_t* tag) const;
    bool has_aborted() const;
    // Suspends until none that is aborted is left. The unit stays until then.
    void wait_aborted(sim::Co& co);
    // Suspends until there are no requests, and nobody waits for any.
    void wait_requests(sim::Co& co);
    void set_unit_attention(const scsi::Sense& sense);
    // Wakes requests that wait for the machine to run again.
    void run_state_changed(bool running) override;
    void reset() override;

protected:
    virtual void run_command(sim::Co& co, ScsiRequest& request) = 0;
    virtual void unit_reset() {}
    // For a request whose I/O failed with "stop": suspends until the machine runs again or the
    // request is aborted. False: aborted.
    bool wait_for_retry(sim::Co& co, const ScsiRequest& request);

private:
    void report_luns(ScsiRequest& request) const;
    bool answer_for_missing_unit(ScsiRequest& request) const;

    std::vector<ScsiRequest*> requests_;  // in flight, oldest first
    std::uint64_t waiters_ = 0;           // inside wait_aborted
    sim::WaitQueue finished_{"scsi requests"}, retry_{"machine runs again"};
    scsi::Sense unit_attention_;
};

}  // namespace hwmodels
