// SPDX-License-Identifier: Apache-2.0
// Disks with low limits that they share: the limits hold, and end at once when they are lifted;
// drained sections do not wait for them; disks change groups.
#include "hwmodels/campaign/guest_load.hpp"
#include "hwmodels/campaign/workload.hpp"

namespace hwmodels::campaign {
namespace {

constexpr std::uint64_t KiB = 1024, disk_bytes = 64 * KiB;
constexpr std::int64_t low = 4;  // requests a second
constexpr std::int64_t first_seconds = 2;
constexpr sim::Duration at_once = sim::milliseconds(20);
constexpr const char* disks[] = {"a", "b", "c"};

std::string file_of(const char* id) { return std::string("disk-") + id; }
std::string filter_of(const char* id) { return std::string("limit-") + id; }
// The second disk is an image above its filter: what it has begun goes on in drained sections.
bool has_format(const char* id) { return id == disks[1]; }

Value group(const char* name, std::int64_t iops) {
    return Value::dict({{"qom-type", "throttle-group"},
                        {"id", name},
                        {"limits", Value::dict({{"iops-total", iops}})}});
}

void set_up(Rig& rig, sim::Co& co) {
    for (const char* name : {"one", "two"}) rig.qmp(co, "object-add", group(name, low));
    for (const char* id : disks) {
        const std::string file = file_of(id);
        rig.image({.file = file + ".raw",
                   .format = has_format(id) ? "qcow2" : "raw",
                   .size = disk_bytes});
        rig.add_node(co, file, "raw", file + ".raw", Value::dict({{"discard", "unmap"}}));
        rig.qmp(co, "blockdev-add",
                Value::dict({{"driver", "throttle"},
                             {"node-name", filter_of(id)},
                             {"throttle-group", "one"},
                             {"file", file}}));
        if (has_format(id))
            rig.qmp(co, "blockdev-add",
                    Value::dict({{"driver", "qcow2"},
                                 {"node-name", "image"},
                                 {"discard", "unmap"},
                                 {"file", filter_of(id)}}));
        rig.plug(co, id, "virtio-blk-pci", has_format(id) ? "image" : filter_of(id));
    }
}

void set_limits(Rig& rig, sim::Co& co, const char* name, std::int64_t iops) {
    rig.qmp(co, "qom-set",
            Value::dict({{"path", std::string("/objects/") + name},
                         {"property", "limits"},
                         {"value", Value::dict({{"iops-total", iops}})}}));
}

std::uint64_t requests_done(Rig& rig) {
    std::uint64_t all = 0;
    for (const char* id : disks)
        for (const sim::HostOp op : {sim::HostOp::read, sim::HostOp::write,
                                     sim::HostOp::write_zeroes, sim::HostOp::discard})
            all += rig.store.medium(file_of(id) + ".raw")->operations(op);
    return all;
}

// A drained section is over before the next request might go by its limits.
void change_group(Rig& rig, sim::Co& co, const char* id, const char* name) {
    const sim::Instant begun = rig.world.now();
    const Value moved = Value::dict({{"driver", "throttle"},
                                     {"node-name", filter_of(id)},
                                     {"throttle-group", name},
                                     {"file", file_of(id)}});
    rig.qmp(co, "blockdev-reopen", Value::dict({{"options", Value::list({moved})}}));
    if (rig.world.now() > begun + at_once) Rig::fail("a drained section waits for limits");
}

void limited(Rig& rig, sim::Co& co) {
    for (const char* id : disks)
        for (unsigned process = 0; process < 2; ++process)
            start_load(rig, id, process,
                       {.operations = 6,
                        .area = 24 * KiB,
                        .flushes = 0,
                        .errors_allowed = id == disks[2]});
    const std::uint64_t before = requests_done(rig);
    co.sleep(sim::seconds(first_seconds));
    // One at once, and each is counted when it goes.
    if (requests_done(rig) - before > low * first_seconds + 2) Rig::fail("limits are not kept");
    for (int i = 0; i < 3; ++i) {
        if (!rig.world.keep("a disk changes its group")) continue;
        const char* id = disks[rig.world.choose(std::size(disks), "which disk")];
        const char* name = rig.world.choose(2, "which group") == 0 ? "two" : "one";
        co.moment("a disk changes its group", 30);
        change_group(rig, co, id, name);
        co.sleep(sim::milliseconds(300));
    }
    const std::size_t events = rig.events.size();
    const bool unplugs = rig.world.keep("a disk is unplugged");
    if (unplugs) {
        co.moment("a disk is unplugged", 30);
        rig.qmp(co, "device_del", Value::dict({{"id", "c"}}));
    }
    co.sleep(sim::milliseconds(700));
    for (const char* name : {"one", "two"}) set_limits(rig, co, name, 0);
    const sim::Instant lifted = rig.world.now();
    rig.finish(co);
    if (rig.world.now() > lifted + at_once) Rig::fail("limits that were lifted hold on");
    if (unplugs) rig.wait_event(co, "DEVICE_DELETED", Value::dict({{"device", "c"}}), events);
    rig.verify(co);
}

const WorkloadRegistration registration({.name = "low limits that change",
                                         .run = limited,
                                         .prepare = set_up});

}  // namespace
}  // namespace hwmodels::campaign
