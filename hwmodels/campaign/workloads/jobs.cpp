// SPDX-License-Identifier: Apache-2.0
// Jobs under load: mirrors that pivot, are cancelled, or meet errors; commits of every kind; all of
// it at once with a disk that comes and goes.
#include "hwmodels/campaign/guest_load.hpp"
#include "hwmodels/campaign/workload.hpp"

namespace hwmodels::campaign {
namespace {

constexpr std::uint64_t KiB = 1024;
constexpr std::uint64_t disk_bytes = 64 * KiB;

// Two copies at a time, of one granule each.
constexpr blocklayer::LayerLimits narrow{.job_slots = 2, .job_chunk_bytes = 4 * KiB};

void disk_node(Rig& rig, sim::Co& co, const std::string& name, const std::string& format,
               unsigned filled = 0, const std::string& backing = "") {
    Value create = Value::dict();
    if (format == "qcow2") create.set("cluster-size", 4 * KiB);
    if (!backing.empty()) {
        create.set("backing-file", backing + ".img");
        create.set("backing-fmt", "qcow2");
    }
    rig.image({.file = name + ".img",
               .format = format,
               .size = disk_bytes,
               .create = create,
               .filled = filled});
    Value more = Value::dict({{"discard", "unmap"}});
    if (!backing.empty())
        more.set("backing", backing);
    else if (format == "qcow2")
        more.set("backing", nullptr);
    rig.add_node(co, name, format, name + ".img", more);
}

void load(Rig& rig, const std::string& id, unsigned processes, const bool* until,
          unsigned operations = 6) {
    for (unsigned process = 0; process < processes; ++process)
        start_load(rig, id, process,
                   {.operations = operations, .area = 24 * KiB, .discards = 2, .until = until});
}

Value job_status(const std::string& id, const char* status) {
    return Value::dict({{"id", id}, {"status", status}});
}

void wait_job(Rig& rig, sim::Co& co, const std::string& id, const char* status) {
    rig.wait_event(co, "JOB_STATUS_CHANGE", job_status(id, status));
}

void start_mirror(Rig& rig, sim::Co& co, const std::string& id, const std::string& source,
                  const std::string& target, Value more = {}) {
    Value arguments =
        Value::dict({{"job-id", id}, {"device", source}, {"target", target}, {"sync", "full"}});
    if (more.is_dict())
        for (const auto& [name, value] : more.members()) arguments.set(name, value);
    rig.qmp(co, "blockdev-mirror", arguments);
}

void complete(Rig& rig, sim::Co& co, const std::string& id) {
    wait_job(rig, co, id, "ready");
    rig.some_time(co, 30);
    rig.qmp(co, "job-complete", Value::dict({{"id", id}}));
    wait_job(rig, co, id, "null");
}

void mirrored(Rig& rig, sim::Co& co) {
    sim::RandomStream& random = rig.world.rng("configuration");
    disk_node(rig, co, "disk", random.chance(1, 2) ? "raw" : "qcow2", 1);
    disk_node(rig, co, "copy", random.chance(1, 2) ? "raw" : "qcow2");
    rig.plug(co, "d", "virtio-blk-pci", "disk");
    bool done = false;
    load(rig, "d", 2, &done);
    start_mirror(rig, co, "m", "disk", "copy",
                 Value::dict({{"copy-mode", random.chance(1, 2) ? "background" : "write-blocking"},
                              {"granularity", 4 * KiB},
                              {"buf-size", 8 * KiB}}));
    complete(rig, co, "m");
    done = true;
    rig.verify(co);
}

void mirror_errors(Rig& rig, sim::Co& co) {
    sim::RandomStream& random = rig.world.rng("configuration");
    disk_node(rig, co, "disk", "raw", 1);
    disk_node(rig, co, "copy", "raw");
    rig.plug(co, "d", "virtio-blk-pci", "disk");
    sim::MemoryMedium& target = *rig.store.medium("copy.img");
    target.add_fault(
        {.op = sim::HostOp::write, .skip = random.below(20), .times = 1 + random.below(3)});
    bool done = false;
    load(rig, "d", 2, &done);
    start_mirror(rig, co, "m", "disk", "copy",
                 Value::dict({{"on-target-error", random.chance(1, 2) ? "ignore" : "stop"},
                              {"copy-mode", random.chance(1, 2) ? "background" : "write-blocking"},
                              {"granularity", 4 * KiB},
                              {"buf-size", 8 * KiB}}));
    // Whoever administers the machine resumes what has stopped.
    rig.spawn("administrator", [&rig](sim::Co& inner) {
        while (!rig.has_event("JOB_STATUS_CHANGE", job_status("m", "null"))) {
            inner.sleep(sim::milliseconds(20));
            (void)rig.try_qmp(inner, "block-job-resume", Value::dict({{"device", "m"}}))
                .has_value();
        }
    });
    wait_job(rig, co, "m", "ready");
    rig.some_time(co, 30);
    target.clear_faults();  // from the pivot on they would be the guest's own
    complete(rig, co, "m");
    done = true;
    rig.verify(co);
}

void mirror_cancelled(Rig& rig, sim::Co& co) {
    disk_node(rig, co, "disk", "qcow2", 1);
    disk_node(rig, co, "copy", "raw");
    rig.plug(co, "d", "virtio-blk-pci", "disk");
    bool done = false;
    load(rig, "d", 2, &done, 8);
    start_mirror(rig, co, "m", "disk", "copy",
                 Value::dict({{"granularity", 4 * KiB}, {"buf-size", 8 * KiB}}));
    rig.some_time(co, 60);
    (void)rig.try_qmp(co, "block-job-pause", Value::dict({{"device", "m"}})).has_value();
    rig.some_time(co, 20);
    (void)rig.try_qmp(co, "block-job-resume", Value::dict({{"device", "m"}})).has_value();
    rig.some_time(co, 60);
    (void)rig.try_qmp(co, "block-job-cancel", Value::dict({{"device", "m"}, {"force", true}}))
        .has_value();
    wait_job(rig, co, "m", "null");
    done = true;
    rig.verify(co);
}

// The snapshots that the guest writes to are merged into what lies below, while it writes.
void committed(Rig& rig, sim::Co& co, bool active) {
    disk_node(rig, co, "base", "qcow2", 1);
    disk_node(rig, co, "middle", "qcow2", 0, "base");
    disk_node(rig, co, "disk", "qcow2", 0, "middle");
    guest::CheckedDisk& disk = rig.plug(co, "d", "virtio-blk-pci", "disk");
    std::vector<std::byte> first(disk_bytes);  // teaches the oracle what was there
    if (!disk.read(co, 0, first)) Rig::fail("the first read failed");
    bool done = false;
    load(rig, "d", 2, &done);
    Value arguments = Value::dict({{"job-id", "c"}, {"device", "disk"}, {"base-node", "base"}});
    if (!active) arguments.set("top-node", "middle");
    rig.some_time(co, 20);
    rig.qmp(co, "block-commit", arguments);
    if (active)
        complete(rig, co, "c");
    else
        wait_job(rig, co, "c", "null");
    done = true;
    rig.verify(co);
}

// Two guests' disks, a mirror and a commit, and a third disk that comes and goes.
void everything(Rig& rig, sim::Co& co) {
    disk_node(rig, co, "one", "raw", 1);
    disk_node(rig, co, "copy", "raw");
    disk_node(rig, co, "base", "qcow2", 2);
    disk_node(rig, co, "two", "qcow2", 0, "base");
    rig.plug(co, "d1", "virtio-blk-pci", "one");
    rig.plug(co, "d2", "virtio-blk-pci", "two");
    bool done = false;
    load(rig, "d1", 1, &done, 3);
    load(rig, "d2", 1, &done, 3);
    rig.spawn("hotplugger", [&rig](sim::Co& inner) {
        disk_node(rig, inner, "three", "raw");
        rig.plug(inner, "d3", "virtio-blk-pci", "three");
        start_load(rig, "d3", 0, {.operations = 2, .area = 16 * KiB, .errors_allowed = true});
        rig.unplug(inner, "d3");
    });
    rig.spawn("second client", [&rig](sim::Co& inner) {
        rig.qmp(inner, "block-commit", Value::dict({{"job-id", "c"}, {"device", "two"}}));
        complete(rig, inner, "c");
    });
    start_mirror(rig, co, "m", "one", "copy");
    complete(rig, co, "m");
    wait_job(rig, co, "c", "null");
    done = true;
    rig.verify(co);
}

const WorkloadRegistration all[] = {
    WorkloadRegistration({.name = "mirror under load", .run = mirrored, .limits = narrow}),
    WorkloadRegistration(
        {.name = "mirror with target errors", .run = mirror_errors, .limits = narrow}),
    WorkloadRegistration(
        {.name = "mirror paused and cancelled", .run = mirror_cancelled, .limits = narrow}),
    WorkloadRegistration({.name = "active commit under load",
                          .run = [](Rig& rig, sim::Co& co) { committed(rig, co, true); },
                          .limits = narrow}),
    WorkloadRegistration({.name = "commit of a middle image under load",
                          .run = [](Rig& rig, sim::Co& co) { committed(rig, co, false); },
                          .limits = narrow}),
    WorkloadRegistration({.name = "mirror, commit and hotplug", .run = everything}),
};

}  // namespace
}  // namespace hwmodels::campaign
