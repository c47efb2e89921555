// SPDX-License-Identifier: Apache-2.0
// scsi-hd: a hard disk on a SCSI bus.
//
// source  SBC-3; properties as the reference's device has them.
#include "hwmodels/scsi/disk.hpp"

namespace hwmodels {
namespace {

using blocklayer::failure;
using blocklayer::Status;

constexpr std::uint64_t max_unmap_bytes = 1 << 30;

class ScsiHd final : public ScsiDisk {
public:
    using ScsiDisk::ScsiDisk;

    Status realize(sim::Co& co) override {
        TRY(scsi_bus().place(*this));
        if (drive_.backend() == nullptr) return failure("drive property not set");
        if (!drive_.backend()->has_medium())
            return failure("Device needs media, but drive is empty");
        const bool ro = drive_.backend()->read_only();
        const std::uint64_t logical = properties().number("logical_block_size");
        block_size_ = logical == 0 ? 512 : static_cast<std::uint32_t>(logical);
        return finish_realize(co, ro ? ReadOnlyMedium::yes : ReadOnlyMedium::no, Resizable::yes);
    }

protected:
    bool run_special(sim::Co&, ScsiRequest&) override { return false; }
};

const DeviceRegistration registration({
    .name = "scsi-hd",
    .bus = "SCSI",
    .properties = scsi_disk_properties() + geometry_properties() +
                  std::vector<PropertySpec>{
                      {"removable", PropertyKind::boolean, false},
                      {"dpofua", PropertyKind::boolean, false},
                      {"rotation_rate", PropertyKind::uint16, 0},
                      {"max_unmap_size", PropertyKind::uint64, max_unmap_bytes},
                  },
    .make = [](Machine& machine, const DeviceSpec& spec) -> std::unique_ptr<Device> {
        return std::make_unique<ScsiHd>(machine, spec);
    },
    .source = "SBC-3",
});

}  // namespace
}  // namespace hwmodels
