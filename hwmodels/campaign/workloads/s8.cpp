// SPDX-License-Identifier: Apache-2.0
// S8, the small world that schedules are counted by: two guest disks in use, a mirror that pivots
// and an active commit that completes at the same time, a third disk that comes and goes, one QMP
// client. About four hundred scheduling points.
#include "hwmodels/campaign/guest_load.hpp"
#include "hwmodels/campaign/workload.hpp"

namespace hwmodels::campaign {
namespace {

constexpr std::uint64_t KiB = 1024;
constexpr std::uint64_t disk_bytes = 8 * KiB;
constexpr std::uint32_t any_moment = 100;  // events that may happen before a command

// A guest's raw disk can be a file's node itself.
void raw_node(Rig& rig, sim::Co& co, const std::string& name, unsigned filled) {
    rig.image({.file = name + ".img", .format = "raw", .size = disk_bytes, .filled = filled});
    rig.qmp(co, "blockdev-add",
            Value::dict({{"driver", "file"},
                         {"node-name", name},
                         {"filename", name + ".img"},
                         {"discard", "unmap"}}));
}

void plug(Rig& rig, sim::Co& co, const char* id, const char* node) {
    rig.plug(co, id, "virtio-blk-pci", node,
             Value::dict({{"queue-size", 16}, {"share-rw", true}}));
}

void prepare(Rig& rig, sim::Co& co) {
    raw_node(rig, co, "one", 1);
    raw_node(rig, co, "copy", 0);
    raw_node(rig, co, "base", 2);
    rig.image(overlay_image("two.img", disk_bytes, "base.img", "raw", KiB));
    rig.add_node(co, "two", "qcow2", "two.img",
                 Value::dict({{"backing", "base"}, {"discard", "unmap"}}));
    plug(rig, co, "d1", "one");
    plug(rig, co, "d2", "two");
}

void manage(Rig& rig, sim::Co& co) {
    co.moment("a mirror begins", any_moment);
    rig.qmp(co, "blockdev-mirror",
            Value::dict({{"job-id", "m"},
                         {"device", "one"},
                         {"target", "copy"},
                         {"sync", "full"},
                         {"granularity", KiB}}));
    co.moment("a commit begins", any_moment);
    rig.qmp(co, "block-commit", Value::dict({{"job-id", "c"}, {"device", "two"}}));
    for (const char* id : {"m", "c"}) {
        if (!rig.wait_job(co, id, JobStatus::ready)) Rig::fail("a job ended too early");
        co.moment("a job is completed", any_moment);
        rig.qmp(co, "job-complete", Value::dict({{"id", id}}));
    }
    for (const char* id : {"m", "c"}) (void)rig.wait_job(co, id, JobStatus::null);
}

void hotplug(Rig& rig, sim::Co& co) {
    co.moment("a disk is plugged in", any_moment);
    plug(rig, co, "d3", "one");
    start_load(rig, "d3", 0,
               {.operations = 2, .area = disk_bytes, .longest = KiB, .errors_allowed = true});
    co.moment("a disk is unplugged", any_moment);
    rig.unplug(co, "d3");
}

void run(Rig& rig, sim::Co& co) {
    const LoadOptions load{
        .operations = 5, .area = disk_bytes, .longest = KiB, .discards = 2, .think = 45};
    start_load(rig, "d1", 0, load);
    start_load(rig, "d2", 0, load);
    rig.spawn("hotplugger", [&rig](sim::Co& inner) { hotplug(rig, inner); });
    rig.spawn("QMP client", [&rig](sim::Co& inner) { manage(rig, inner); });
    rig.finish(co);
    // The jobs have moved both disks into raw files: what the guest wrote must lie there.
    const auto one = rig.disk("d1").shared_oracle(), two = rig.disk("d2").shared_oracle();
    rig.verify_running(co, Rig::Reading::none);
    rig.layer.shut_down(co);
    rig.verify_file("copy.img", one.get());
    rig.verify_file("base.img", two.get());
}

const WorkloadRegistration registration(
    {.name = "S8",
     .run = run,
     .limits = {.job_slots = 2, .job_chunk_bytes = 2 * KiB},
     .prepare = prepare});

}  // namespace
}  // namespace hwmodels::campaign
