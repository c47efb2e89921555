// SPDX-License-Identifier: Apache-2.0
// Disks behind filters: shared limits that change while disks come and go, blocks larger than the
// guest's, copies that are made as the guest reads.
#include "hwmodels/campaign/guest_load.hpp"
#include "hwmodels/campaign/workload.hpp"

namespace hwmodels::campaign {
namespace {

constexpr std::uint64_t KiB = 1024;

void add_throttled(Rig& rig, sim::Co& co, const std::string& id) {
    const std::string file = "disk-" + id;
    rig.image({.file = file + ".raw", .format = "raw", .size = 64 * KiB});
    rig.add_node(co, file, "raw", file + ".raw", Value::dict({{"discard", "unmap"}}));
    rig.qmp(co, "blockdev-add",
            Value::dict({{"driver", "throttle"},
                         {"node-name", "limit-" + id},
                         {"throttle-group", "shared"},
                         {"file", file}}));
    rig.plug(co, id, "virtio-blk-pci", "limit-" + id);
}

Value limits(std::int64_t iops) { return Value::dict({{"iops-total", iops}}); }

// Two disks share limits; one of them leaves, the limits change.
void throttled(Rig& rig, sim::Co& co) {
    for (const char* group : {"shared", "other"})
        rig.qmp(
            co, "object-add",
            Value::dict({{"qom-type", "throttle-group"}, {"id", group}, {"limits", limits(400)}}));
    add_throttled(rig, co, "a");
    add_throttled(rig, co, "b");
    LoadOptions options{.operations = 5, .area = 24 * KiB};
    options.errors_allowed = true;
    for (const char* id : {"a", "b"})
        for (unsigned process = 0; process < 2; ++process) start_load(rig, id, process, options);
    if (rig.world.keep("other limits")) {
        co.moment("other limits", 30);
        rig.qmp(co, "qom-set",
                Value::dict({{"path", "/objects/shared"},
                             {"property", "limits"},
                             {"value", limits(rig.world.choose(2, "limits") == 0 ? 100 : 2000)}}));
    }
    if (rig.world.keep("a disk moves to another group")) {
        co.moment("another group", 30);
        const Value moved = Value::dict({{"driver", "throttle"},
                                         {"node-name", "limit-a"},
                                         {"throttle-group", "other"},
                                         {"file", "disk-a"}});
        rig.qmp(co, "blockdev-reopen", Value::dict({{"options", Value::list({moved})}}));
    }
    if (rig.world.keep("a disk is unplugged")) {
        co.moment("unplugging", 30);
        rig.unplug(co, "a");
        rig.qmp(co, "blockdev-del", Value::dict({{"node-name", "limit-a"}}));
    }
    rig.verify(co);
}

// The host's blocks are larger than the guest's: most writes have to read first.
void large_blocks(Rig& rig, sim::Co& co) {
    const bool raw = rig.world.choose(2, "format of the disk") == 0;
    const char* format = raw ? "raw" : "qcow2";
    rig.image({.file = "disk.img", .format = format, .size = 64 * KiB});
    rig.qmp(
        co, "blockdev-add",
        Value::dict({{"driver", format},
                     {"node-name", "disk"},
                     {"discard", "unmap"},
                     {"file", Value::dict({{"driver", "blkdebug"},
                                           {"align", 4 * KiB},
                                           {"image", Value::dict({{"driver", "file"},
                                                                  {"filename", "disk.img"}})}})}}));
    rig.plug(co, "d", "virtio-blk-pci", "disk");
    for (unsigned process = 0; process < 4; ++process)
        start_load(rig, "d", process,
                   {.operations = 8, .area = 16 * KiB, .longest = 10 * KiB, .zeroes = 1});
    rig.verify(co);
}

// Every read of the guest leaves a copy in its own image, while it writes there.
void copied_on_read(Rig& rig, sim::Co& co) {
    rig.image({.file = "base.raw", .format = "raw", .size = 32 * KiB, .filled = 4});
    rig.image(overlay_image("disk.qcow2", 64 * KiB, "base.raw", "raw"));
    rig.add_node(co, "disk", "qcow2", "disk.qcow2", Value::dict({{"discard", "unmap"}}));
    rig.qmp(co, "blockdev-add",
            Value::dict({{"driver", "copy-on-read"}, {"node-name", "copier"}, {"file", "disk"}}));
    rig.plug(co, "d", "virtio-blk-pci", "copier");
    for (unsigned process = 0; process < 3; ++process)
        start_load(rig, "d", process, {.operations = 8, .area = 24 * KiB, .reads = 8});
    rig.verify(co);
}

const WorkloadRegistration all[] = {
    WorkloadRegistration({.name = "disks with shared limits", .run = throttled}),
    WorkloadRegistration({.name = "blocks larger than the guest's", .run = large_blocks}),
    WorkloadRegistration({.name = "copies on read", .run = copied_on_read}),
};

}  // namespace
}  // namespace hwmodels::campaign
