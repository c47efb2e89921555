// SPDX-License-Identifier: Apache-2.0
// Small writes to a qcow2 image by several guest processes at once, without and with a power cut.
#include "hwmodels/campaign/guest_load.hpp"
#include "hwmodels/campaign/workload.hpp"

namespace hwmodels::campaign {
namespace {

constexpr std::uint64_t KiB = 1024;

void set_up(Rig& rig, sim::Co& co) {
    rig.image({.file = "disk.qcow2",
               .format = "qcow2",
               .size = 64 * KiB,
               .create = Value::dict({{"cluster-size", 4 * KiB}})});
    rig.add_node(co, "disk", "qcow2", "disk.qcow2", Value::dict({{"discard", "unmap"}}));
    rig.plug(co, "d", "virtio-blk-pci", "disk");
}

void writes(Rig& rig, sim::Co& co) {
    set_up(rig, co);
    for (unsigned process = 0; process < 3; ++process)
        start_load(rig, "d", process, {.operations = 6, .area = 16 * KiB});
    rig.verify(co);
}

const WorkloadRegistration plain({.name = "qcow2 small writes", .run = writes});

}  // namespace
}  // namespace hwmodels::campaign
