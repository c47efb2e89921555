// SPDX-License-Identifier: Apache-2.0
// Every kind of disk controller: a guest with several processes on its disk, which the guest's
// driver resets meanwhile.
#include "hwmodels/campaign/guest_load.hpp"
#include "hwmodels/campaign/workload.hpp"
#include "hwmodels/guest/ahci.hpp"
#include "hwmodels/guest/ide.hpp"
#include "hwmodels/guest/nvme.hpp"
#include "hwmodels/guest/virtio_scsi.hpp"

namespace hwmodels::campaign {
namespace {

constexpr std::uint64_t KiB = 1024;

void add_disk(Rig& rig, sim::Co& co) {
    const bool raw = rig.world.choose(2, "format of the disk") == 0;
    const char* format = raw ? "raw" : "qcow2";
    rig.image({.file = "disk.img", .format = format, .size = 64 * KiB});
    rig.add_node(co, "disk", format, "disk.img", Value::dict({{"discard", "unmap"}}));
}

// Some requests of several processes, and the guest's driver that loses patience.
template <class Reset>
void load_and_reset(Rig& rig, sim::Co& co, const Reset& reset) {
    LoadOptions options{.operations = 6, .area = 24 * KiB};
    options.errors_allowed = true;
    for (unsigned process = 0; process < 3; ++process) start_load(rig, "d", process, options);
    rig.slow("disk.img", 4);  // or there is hardly a moment in which anything is under way
    for (int i = 0; i < 2; ++i) {
        if (!rig.world.keep("reset of the disk")) continue;
        co.moment("reset of the disk", 60);
        reset();
    }
    rig.verify(co);
}

void ide(Rig& rig, sim::Co& co) {
    add_disk(rig, co);
    rig.plug(co, "d", "ide-hd", "disk", Value::dict({{"bus", "ide.0"}}), Plug::cold);
    const auto channel = guest::IdeChannel::of(*rig.machine, 0);
    load_and_reset(rig, co, [&] { (void)channel->reset(co).has_value(); });
}

void nvme(Rig& rig, sim::Co& co) {
    add_disk(rig, co);
    rig.plug(co, "d", "nvme", "disk", Value::dict({{"serial", "one"}}));
    load_and_reset(rig, co, [&] {
        auto& disk = dynamic_cast<guest::NvmeDisk&>(rig.disk("d").disk());
        if (!disk.reset(co)) Rig::fail("the guest cannot start its disk again");
    });
}

void scsi(Rig& rig, sim::Co& co) {
    add_disk(rig, co);
    rig.qmp(co, "device_add", Value::dict({{"driver", "virtio-scsi-pci"}, {"id", "adapter"}}));
    rig.plug(co, "d", "scsi-hd", "disk");
    load_and_reset(rig, co, [&] { rig.qmp(co, "query-block"); });
}

void lsi(Rig& rig, sim::Co& co) {
    add_disk(rig, co);
    rig.qmp(co, "device_add", Value::dict({{"driver", "lsi53c895a"}, {"id", "adapter"}}));
    rig.plug(co, "d", "scsi-hd", "disk");
    load_and_reset(rig, co, [&] { rig.qmp(co, "query-block"); });
}

const WorkloadRegistration all[] = {
    WorkloadRegistration({.name = "IDE disk under load", .run = ide}),
    WorkloadRegistration({.name = "NVMe disk under load", .run = nvme}),
    WorkloadRegistration({.name = "virtio-scsi disk under load", .run = scsi}),
    WorkloadRegistration({.name = "LSI SCSI disk under load", .run = lsi}),
};

}  // namespace
}  // namespace hwmodels::campaign
