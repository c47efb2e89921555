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

void start_mirror(Rig& rig, sim::Co& co, const std::string& id, const std::string& source,
                  const std::string& target, Value more = {}) {
    Value arguments =
        Value::dict({{"job-id", id}, {"device", source}, {"target", target}, {"sync", "full"}});
    if (more.is_dict())
        for (const auto& [name, value] : more.members()) arguments.set(name, value);
    rig.qmp(co, "blockdev-mirror", arguments);
}

// A job that fails before it is ready has no result: that is right where hosts have errors.
void complete(Rig& rig, sim::Co& co, const std::string& id) {
    if (!rig.wait_job(co, id, JobStatus::ready)) return;
    co.moment("completion", 30);
    rig.qmp(co, "job-complete", Value::dict({{"id", id}}));
    rig.wait_job(co, id, JobStatus::null);
}

const char* choose_format(Rig& rig, sim::Label of_what) {
    return rig.world.choose(2, of_what) == 0 ? "raw" : "qcow2";
}

const char* choose_copy_mode(Rig& rig) {
    return rig.world.choose(2, "copy mode") == 0 ? "background" : "write-blocking";
}

const char* choose_error_action(Rig& rig) {
    return rig.world.choose(2, "error action") == 0 ? "stop" : "ignore";
}

void mirrored(Rig& rig, sim::Co& co) {
    disk_node(rig, co, "disk", choose_format(rig, "format of the source"), 1);
    disk_node(rig, co, "copy", choose_format(rig, "format of the target"));
    rig.plug(co, "d", "virtio-blk-pci", "disk");
    rig.learn(co, "d");
    rig.slow("copy.img", 6);
    bool done = false;
    load(rig, "d", 2, &done);
    if (rig.world.keep("mirror")) {
        start_mirror(rig, co, "m", "disk", "copy",
                     Value::dict({{"copy-mode", choose_copy_mode(rig)},
                                  {"granularity", 4 * KiB},
                                  {"buf-size", 8 * KiB}}));
        complete(rig, co, "m");
    }
    done = true;
    rig.verify(co);
}

void mirror_errors(Rig& rig, sim::Co& co) {
    disk_node(rig, co, "disk", "raw", 1);
    disk_node(rig, co, "copy", "raw");
    rig.plug(co, "d", "virtio-blk-pci", "disk");
    rig.learn(co, "d");
    rig.slow("copy.img", 6);
    rig.arm("copy.img", {sim::MediumFault::torn, sim::MediumFault::no_space}, 6);
    bool done = false;
    load(rig, "d", 2, &done);
    if (!rig.world.keep("mirror")) {
        done = true;
        return rig.verify(co);
    }
    start_mirror(rig, co, "m", "disk", "copy",
                 Value::dict({{"on-target-error", choose_error_action(rig)},
                              {"copy-mode", choose_copy_mode(rig)},
                              {"granularity", 4 * KiB},
                              {"buf-size", 8 * KiB}}));
    // Whoever administers the machine resumes what has stopped.
    rig.spawn("administrator", [&rig](sim::Co& inner) {
        const Value ended = Value::dict({{"id", "m"}, {"status", "null"}});
        while (!rig.has_event("JOB_STATUS_CHANGE", ended)) {
            inner.sleep(sim::milliseconds(20));
            (void)rig.try_qmp(inner, "block-job-resume", Value::dict({{"device", "m"}}))
                .has_value();
        }
    });
    rig.wait_job(co, "m", JobStatus::ready);
    co.moment("end of the errors", 30);
    rig.disarm("copy.img");  // from the pivot on they would be the guest's own
    complete(rig, co, "m");
    done = true;
    rig.verify(co);
}

void mirror_cancelled(Rig& rig, sim::Co& co) {
    disk_node(rig, co, "disk", "qcow2", 1);
    disk_node(rig, co, "copy", "raw");
    rig.plug(co, "d", "virtio-blk-pci", "disk");
    rig.learn(co, "d");
    rig.slow("copy.img", 6);
    bool done = false;
    load(rig, "d", 2, &done, 8);
    if (!rig.world.keep("mirror")) {
        done = true;
        return rig.verify(co);
    }
    start_mirror(rig, co, "m", "disk", "copy",
                 Value::dict({{"granularity", 4 * KiB}, {"buf-size", 8 * KiB}}));
    const auto verb = [&](const char* command, Value arguments) {
        arguments.set("device", "m");
        (void)rig.try_qmp(co, command, std::move(arguments)).has_value();
    };
    for (int i = 0; i < 2; ++i) {
        if (!rig.world.keep("pause and resume")) continue;
        if (rig.world.choose(2, "paused when") == 1) rig.wait_job(co, "m", JobStatus::ready);
        co.moment("pause", 40);
        verb("block-job-pause", Value::dict());
        co.moment("another speed", 20);
        verb("block-job-set-speed", Value::dict({{"speed", 1 << 20}}));
        co.sleep(sim::milliseconds(150));
        verb("block-job-resume", Value::dict());
    }
    co.moment("cancel", 60);
    verb("block-job-cancel", Value::dict({{"force", true}}));
    rig.wait_job(co, "m", JobStatus::null);
    done = true;
    rig.verify(co);
}

// A disk and what it stands on move to other images, each its own way: the overlay by a mirror, and
// its new backing file is put below it while the mirror writes, together with a second disk's.
void moved_in_two_layers(Rig& rig, sim::Co& co) {
    disk_node(rig, co, "base", "qcow2", 1);
    disk_node(rig, co, "disk", "qcow2", 3, "base");
    disk_node(rig, co, "base2", "qcow2", 1);
    disk_node(rig, co, "other", "raw", 2);
    for (const char* overlay : {"copy", "overlay"}) {
        const bool of_copy = overlay[0] == 'c';
        rig.image({.file = overlay + std::string(".img"),
                   .format = "qcow2",
                   .size = disk_bytes,
                   .create = Value::dict({{"cluster-size", 4 * KiB},
                                          {"backing-file", of_copy ? "base2.img" : "other.img"},
                                          {"backing-fmt", of_copy ? "qcow2" : "raw"}})});
        rig.add_node(co, overlay, "qcow2", overlay + std::string(".img"),
                     Value::dict({{"backing", nullptr}, {"discard", "unmap"}}));
    }
    rig.plug(co, "d", "virtio-blk-pci", "disk");
    rig.plug(co, "e", "virtio-blk-pci", "other");
    for (const char* id : {"d", "e"}) rig.learn(co, id);
    bool done = false;
    load(rig, "d", 2, &done);
    load(rig, "e", 1, &done);
    rig.slow("copy.img", 6);
    if (!rig.world.keep("move")) {
        done = true;
        return rig.verify(co);
    }
    start_mirror(rig, co, "m", "disk", "copy", Value::dict({{"sync", "top"}}));
    co.moment("snapshots", 40);
    const auto snapshot = [](const char* node, const char* overlay) {
        return Value::dict({{"type", "blockdev-snapshot"},
                            {"data", Value::dict({{"node", node}, {"overlay", overlay}})}});
    };
    rig.qmp(
        co, "transaction",
        Value::dict(
            {{"actions", Value::list({snapshot("base2", "copy"), snapshot("other", "overlay")})}}));
    complete(rig, co, "m");
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
    if (rig.world.keep("hotplug"))
        rig.spawn("hotplugger", [&rig](sim::Co& inner) {
            disk_node(rig, inner, "three", "raw");
            rig.plug(inner, "d3", "virtio-blk-pci", "three");
            start_load(rig, "d3", 0, {.operations = 2, .area = 16 * KiB, .errors_allowed = true});
            rig.unplug(inner, "d3");
        });
    const bool commits = rig.world.keep("commit");
    if (commits)
        rig.spawn("second client", [&rig](sim::Co& inner) {
            rig.qmp(inner, "block-commit", Value::dict({{"job-id", "c"}, {"device", "two"}}));
            complete(rig, inner, "c");
        });
    if (rig.world.keep("mirror")) {
        start_mirror(rig, co, "m", "one", "copy");
        complete(rig, co, "m");
    }
    if (commits) rig.wait_job(co, "c", JobStatus::null);
    done = true;
    rig.verify(co);
}

const WorkloadRegistration all[] = {
    WorkloadRegistration({.name = "mirror under load", .run = mirrored, .limits = narrow}),
    WorkloadRegistration(
        {.name = "mirror with target errors", .run = mirror_errors, .limits = narrow}),
    WorkloadRegistration(
        {.name = "mirror paused and cancelled", .run = mirror_cancelled, .limits = narrow}),
    WorkloadRegistration(
        {.name = "a disk moves in two layers", .run = moved_in_two_layers, .limits = narrow}),
    WorkloadRegistration({.name = "mirror, commit and hotplug", .run = everything}),
};

}  // namespace
}  // namespace hwmodels::campaign
