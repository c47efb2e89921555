// SPDX-License-Identifier: Apache-2.0
// ScsiDisk: what disks and CD drives have in common: the commands that read, write, describe.
//
// units   blocks of the logical block size in command blocks, bytes inside
// source  SBC-3, SPC-4; identification and limits as the reference's devices give them.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "hwmodels/qdev/block_properties.hpp"
#include "hwmodels/scsi/bus.hpp"

namespace hwmodels {

// What hd and cd both have.
std::vector<PropertySpec> scsi_disk_properties();

class ScsiDisk : public ScsiDevice {
public:
    ScsiDisk(Machine& machine, const DeviceSpec& spec) : ScsiDevice(machine, spec), drive_(*this) {}

    blocklayer::Status set_drive(std::string_view name) override;
    blocklayer::Status change_drive(sim::Co&, std::string_view name) override {
        return drive_.change(name);
    }
    blocklayer::BlockBackend* backend() const override { return drive_.backend(); }
    void unrealize(sim::Co& co) override;
    std::uint32_t block_bytes() const override { return block_size_; }

protected:
    // The last steps of realize, the same for both.
    blocklayer::Status finish_realize(sim::Co& co, ReadOnlyMedium read_only, Resizable resizable);
    void run_command(sim::Co& co, ScsiRequest& request) override;
    virtual blocklayer::DeviceCallbacks callbacks();
    // Commands of this kind of device only. False: not one of them.
    virtual bool run_special(sim::Co& co, ScsiRequest& request) = 0;
    // What stands between the host and the medium now; no_sense: nothing.
    virtual scsi::Sense readiness() const;
    virtual bool is_cd() const { return false; }
    virtual std::uint8_t device_type() const { return 0; }
    // Mode page `page` appended, current or (changeable == true) the mask of what can be changed.
    virtual bool add_mode_page(std::uint8_t page, bool changeable,
                               std::vector<std::byte>& out) const;
    virtual void prevent_removal(bool) {}
    virtual void start_stop(sim::Co&, ScsiRequest&) {}
    virtual bool removable() const { return properties().flag("removable"); }

    std::uint32_t block_size() const { return block_size_; }
    std::uint64_t blocks() const;
    bool read_only() const;
    Drive drive_;
    std::uint32_t block_size_ = 512;

private:
    // Runs `io` until it works, is reported to the guest, ignored or aborted.
    template <class Io>
    void perform(sim::Co& co, ScsiRequest& request, bool is_read, Io&& io);
    void put_rigid_geometry(std::byte* at) const;
    void put_flexible_geometry(std::byte* at) const;
    void inquiry(ScsiRequest& request) const;
    void vital_product_data(ScsiRequest& request) const;
    void mode_sense(ScsiRequest& request) const;
    void mode_select(sim::Co& co, ScsiRequest& request);
    void read_capacity_10(ScsiRequest& request) const;
    void read_capacity_16(ScsiRequest& request) const;
    void read(sim::Co& co, ScsiRequest& request, std::uint64_t lba, std::uint64_t count);
    void write(sim::Co& co, ScsiRequest& request, std::uint64_t lba, std::uint64_t count,
               bool verify);
    void unmap(sim::Co& co, ScsiRequest& request);
    void write_same(sim::Co& co, ScsiRequest& request, std::uint64_t lba, std::uint64_t count);
    void synchronize(sim::Co& co, ScsiRequest& request);
    bool check_range(ScsiRequest& request, std::uint64_t lba, std::uint64_t count) const;
    bool run_data_command(sim::Co& co, ScsiRequest& request);
};

}  // namespace hwmodels
