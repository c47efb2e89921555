// SPDX-License-Identifier: Apache-2.0
// Images that are merged while the guest writes: snapshots are taken, then one is committed into
// what lies below, or the disk pulls up what it stands on. Disks grow, hosts have errors.
#include "hwmodels/campaign/guest_load.hpp"
#include "hwmodels/campaign/workload.hpp"

namespace hwmodels::campaign {
namespace {

constexpr std::uint64_t KiB = 1024;
constexpr std::uint64_t base_bytes = 32 * KiB, disk_bytes = 64 * KiB;
constexpr blocklayer::LayerLimits narrow{.job_slots = 2, .job_chunk_bytes = 4 * KiB};

void some_load(Rig& rig, unsigned process, unsigned operations) {
    start_load(rig, "d", process, {.operations = operations, .area = base_bytes, .discards = 2});
}

// While a job runs: it must not write over all that the snapshots hold.
void load_until(Rig& rig, unsigned process, const bool& done) {
    LoadOptions options{.operations = 6, .area = 12 * KiB, .discards = 2, .until = &done};
    options.errors_allowed = rig.errors_injected;
    start_load(rig, "d", process, options);
}

void add_image(Rig& rig, sim::Co& co, const std::string& name, std::uint64_t size,
               const std::string& backing = "") {
    Value create = Value::dict({{"cluster-size", 4 * KiB}});
    if (!backing.empty()) {
        create.set("backing-file", backing + ".img");
        create.set("backing-fmt", "qcow2");
    }
    rig.image({.file = name + ".img",
               .format = "qcow2",
               .size = size,
               .create = create,
               .filled = backing.empty() ? 1u : 0u});
    rig.add_node(co, name, "qcow2", name + ".img",
                 Value::dict({{"discard", "unmap"}, {"backing", nullptr}}));
}

// base <- middle <- disk, all of them written to by the guest in its time. False: it stays as it
// is.
bool take_snapshots(Rig& rig, sim::Co& co) {
    const bool grown = rig.world.choose(2, "the disk grew") == 1;
    add_image(rig, co, "base", grown ? base_bytes : disk_bytes);
    rig.plug(co, "d", "virtio-blk-pci", "base");
    rig.learn(co, "d");
    if (!rig.world.keep("snapshots")) return false;
    const char* top = "base";
    for (const char* next : {"middle", "disk"}) {
        some_load(rig, 0, 4);
        rig.finish(co);
        add_image(rig, co, next, disk_bytes, top);
        rig.qmp(co, "blockdev-snapshot", Value::dict({{"node", top}, {"overlay", next}}));
        top = next;
    }
    return true;
}

// Images that were merged into others are of no use any more.
void remove_image(Rig& rig, sim::Co& co, const std::string& name) {
    rig.qmp(co, "blockdev-del", Value::dict({{"node-name", name}}));
    rig.remove_file(name + ".img");
}

void merge(Rig& rig, sim::Co& co, const char* command, Value arguments, bool to_complete) {
    bool done = false;
    load_until(rig, 1, done);
    load_until(rig, 2, done);
    arguments.set("job-id", "j");
    co.moment("start of the job", 20);
    rig.qmp(co, command, std::move(arguments));
    if (to_complete && rig.wait_job(co, "j", JobStatus::ready)) {
        co.moment("completion", 30);
        rig.qmp(co, "job-complete", Value::dict({{"id", "j"}}));
    }
    rig.wait_job(co, "j", JobStatus::null);
    done = true;
    rig.finish(co);
}

void active_commit(Rig& rig, sim::Co& co) {
    if (take_snapshots(rig, co) && rig.world.keep("commit")) {
        merge(rig, co, "block-commit", Value::dict({{"device", "disk"}, {"base-node", "base"}}),
              true);
        remove_image(rig, co, "disk");
        remove_image(rig, co, "middle");
    }
    rig.verify(co);
}

void middle_commit(Rig& rig, sim::Co& co) {
    if (take_snapshots(rig, co) && rig.world.keep("commit")) {
        merge(rig, co, "block-commit",
              Value::dict({{"device", "disk"}, {"base-node", "base"}, {"top-node", "middle"}}),
              false);
        remove_image(rig, co, "middle");
    }
    rig.verify(co);
}

// Errors of the base stop the job, or are passed over until they are gone.
void middle_commit_with_errors(Rig& rig, sim::Co& co) {
    if (!take_snapshots(rig, co) || !rig.world.keep("commit")) return rig.verify(co);
    rig.arm("base.img", {sim::MediumFault::torn}, 2);
    rig.store.medium("base.img")
        ->add_fault({.op = sim::HostOp::write,
                     .skip = rig.world.choose(4, "writes until the host is full"),
                     .times = rig.world.choose(3, "writes that find the host full"),
                     .error = sim::Errno::no_space});
    rig.errors_injected = true;
    const bool stops = rig.world.choose(2, "error action") == 0;
    rig.spawn("administrator", [&rig](sim::Co& inner) {
        const Value ended = Value::dict({{"id", "j"}, {"status", "null"}});
        while (!rig.has_event("JOB_STATUS_CHANGE", ended)) {
            inner.sleep(sim::milliseconds(20));
            (void)rig.try_qmp(inner, "block-job-resume", Value::dict({{"device", "j"}}))
                .has_value();
        }
    });
    bool done = false;
    load_until(rig, 1, done);
    rig.qmp(co, "block-commit",
            Value::dict({{"job-id", "j"},
                         {"device", "disk"},
                         {"base-node", "base"},
                         {"top-node", "middle"},
                         {"on-error", stops ? "stop" : "ignore"}}));
    rig.wait_job(co, "j", JobStatus::null);
    done = true;
    rig.finish(co);
    rig.disarm("base.img");
    rig.store.medium("base.img")->clear_faults();
    rig.verify(co);
}

void streamed(Rig& rig, sim::Co& co) {
    if (!take_snapshots(rig, co) || !rig.world.keep("stream")) return rig.verify(co);
    Value arguments = Value::dict({{"device", "disk"}});
    const bool keeps_base = rig.world.choose(2, "down to the base") == 1;
    if (keeps_base) arguments.set("base-node", "base");
    merge(rig, co, "block-stream", std::move(arguments), false);
    remove_image(rig, co, "middle");
    if (!keeps_base) remove_image(rig, co, "base");
    rig.verify(co);
}

const WorkloadRegistration all[] = {
    WorkloadRegistration(
        {.name = "active commit under load", .run = active_commit, .limits = narrow}),
    WorkloadRegistration(
        {.name = "commit of a middle image under load", .run = middle_commit, .limits = narrow}),
    WorkloadRegistration({.name = "commit of a middle image with host errors",
                          .run = middle_commit_with_errors,
                          .limits = narrow}),
    WorkloadRegistration({.name = "stream under load", .run = streamed, .limits = narrow}),
};

}  // namespace
}  // namespace hwmodels::campaign
