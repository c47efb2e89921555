// SPDX-License-Identifier: Apache-2.0
// A machine whose host runs out of memory now and then: requests of guests and of a job fail with
// ENOMEM in the middle, and nothing else may come of it.
#include "hwmodels/campaign/guest_load.hpp"
#include "hwmodels/campaign/workload.hpp"

namespace hwmodels::campaign {
namespace {

constexpr std::uint64_t KiB = 1024, disk_bytes = 64 * KiB, cluster = 4 * KiB;
constexpr std::uint32_t failures_max = 4;

void memory_runs_short(Rig& rig, sim::Co& co) {
    rig.world.limit_faults(0);  // what is set up has to be there
    rig.image({.file = "base.qcow2", .format = "qcow2", .size = disk_bytes / 2, .filled = 1});
    rig.image(overlay_image("disk.qcow2", disk_bytes, "base.qcow2", "qcow2", cluster));
    rig.image({.file = "copy.raw", .format = "raw", .size = disk_bytes});
    rig.add_node(co, "disk", "qcow2", "disk.qcow2", Value::dict({{"discard", "unmap"}}));
    rig.add_node(co, "copy", "raw", "copy.raw");
    rig.qmp(co, "blockdev-add",
            Value::dict({{"driver", "copy-on-read"}, {"node-name", "cor"}, {"file", "disk"}}));
    guest::CheckedDisk& disk = rig.plug(co, "d", "virtio-blk-pci", "cor");
    if (rig.world.rng("configuration").chance(1, 2)) {
        std::vector<std::byte> first(disk_bytes);  // teaches the oracle what was there
        if (!disk.read(co, 0, first)) Rig::fail("the first read failed");
    }
    rig.errors_injected = true;
    rig.world.limit_faults(failures_max);
    bool done = false;
    for (unsigned process = 0; process < 3; ++process)
        start_load(rig, "d", process,
                   {.operations = 6,
                    .area = 48 * KiB,
                    .longest = 6 * KiB,
                    .errors_allowed = true,
                    .until = &done});
    rig.qmp(co, "blockdev-mirror",
            Value::dict({{"job-id", "m"},
                         {"device", "cor"},
                         {"target", "copy"},
                         {"sync", "full"},
                         {"copy-mode", "write-blocking"},
                         {"on-source-error", "ignore"},
                         {"on-target-error", "ignore"},
                         {"granularity", cluster}}));
    rig.wait_event(co, "JOB_STATUS_CHANGE", Value::dict({{"id", "m"}, {"status", "ready"}}));
    co.moment("the job is completed", 30);
    rig.world.limit_faults(0);
    rig.qmp(co, "job-complete", Value::dict({{"id", "m"}}));
    rig.wait_event(co, "JOB_STATUS_CHANGE", Value::dict({{"id", "m"}, {"status", "null"}}));
    done = true;
    rig.verify(co);
}

const WorkloadRegistration registration(
    {.name = "requests while memory runs short",
     .run = memory_runs_short,
     .limits = {.job_slots = 2, .job_chunk_bytes = cluster, .memory_may_fail = true}});

}  // namespace
}  // namespace hwmodels::campaign
