// SPDX-License-Identifier: Apache-2.0
// Management while the guest works: snapshots, stop and cont, resets, unplugging, resizing, and a
// graph whose writer moves from one filter to another.
#include "hwmodels/campaign/guest_load.hpp"
#include "hwmodels/campaign/workload.hpp"
#include "hwmodels/guest/virtio_blk.hpp"

namespace hwmodels::campaign {
namespace {

constexpr std::uint64_t KiB = 1024;

void raw_disk(Rig& rig, sim::Co& co) {
    rig.image({.file = "disk.raw", .format = "raw", .size = 64 * KiB});
    rig.add_node(co, "disk", "raw", "disk.raw", Value::dict({{"discard", "unmap"}}));
    rig.plug(co, "d", "virtio-blk-pci", "disk");
}

void load(Rig& rig, unsigned processes, const LoadOptions& options) {
    for (unsigned process = 0; process < processes; ++process)
        start_load(rig, "d", process, options);
}

void snapshots(Rig& rig, sim::Co& co) {
    raw_disk(rig, co);
    load(rig, 3, {.operations = 10, .area = 24 * KiB});
    std::string top = "disk", top_file = "disk.raw", top_format = "raw";
    for (int i = 0; i < 2; ++i) {
        if (!rig.world.keep("snapshot")) continue;
        const std::string overlay = "overlay" + std::to_string(i), file = overlay + ".qcow2";
        rig.image(
            {.file = file,
             .format = "qcow2",
             .size = 64 * KiB,
             .create = Value::dict({{"backing-file", top_file}, {"backing-fmt", top_format}})});
        rig.add_node(co, overlay, "qcow2", file,
                     Value::dict({{"backing", nullptr}, {"discard", "unmap"}}));
        co.moment("snapshot", 20);
        rig.qmp(co, "blockdev-snapshot", Value::dict({{"node", top}, {"overlay", overlay}}));
        top = overlay;
        top_file = file;
        top_format = "qcow2";
    }
    rig.verify(co);
}

void stop_and_cont(Rig& rig, sim::Co& co) {
    raw_disk(rig, co);
    load(rig, 3, {.operations = 10, .area = 24 * KiB});
    const sim::MemoryMedium& medium = *rig.store.medium("disk.raw");
    for (int i = 0; i < 3; ++i) {
        if (!rig.world.keep("stop and cont")) continue;
        co.moment("stop", 20);
        rig.qmp(co, "stop");
        const std::uint64_t written = medium.operations(sim::HostOp::write);
        co.moment("cont", 5);
        if (medium.operations(sim::HostOp::write) != written)
            Rig::fail("a guest that stands still has written to its disk");
        rig.qmp(co, "cont");
    }
    rig.verify(co);
}

void resets(Rig& rig, sim::Co& co) {
    raw_disk(rig, co);
    LoadOptions options{.operations = 10, .area = 24 * KiB};
    options.errors_allowed = true;
    load(rig, 3, options);
    for (int i = 0; i < 2; ++i) {
        if (!rig.world.keep("reset of the disk")) continue;
        co.moment("reset of the disk", 30);
        auto& disk = dynamic_cast<guest::VirtioBlk&>(rig.disk("d").disk());
        if (!disk.reset(co)) Rig::fail("the guest cannot start its disk again");
    }
    rig.verify(co);
}

void unplugging(Rig& rig, sim::Co& co) {
    raw_disk(rig, co);
    for (int i = 0; i < 2; ++i) {
        if (!rig.world.keep("unplugging")) continue;
        LoadOptions options{.operations = 6, .area = 24 * KiB};
        options.errors_allowed = true;
        load(rig, 2, options);
        co.moment("unplugging", 30);
        rig.unplug(co, "d");
        rig.finish(co);
        rig.plug(co, "d", "virtio-blk-pci", "disk");
    }
    rig.verify(co);
}

// The machine is reset while a device is about to go: it goes at once, with requests under way.
void unplugging_by_reset(Rig& rig, sim::Co& co) {
    raw_disk(rig, co);
    LoadOptions options{.operations = 6, .area = 24 * KiB};
    options.errors_allowed = true;
    load(rig, 3, options);
    if (!rig.world.keep("unplugging")) return rig.verify(co);
    co.moment("unplugging", 30);
    rig.qmp(co, "device_del", Value::dict({{"id", "d"}}));
    rig.qmp(co, "system_reset");
    rig.wait_event(co, "DEVICE_DELETED", Value::dict({{"device", "d"}}));
    rig.disk("d").surprise_removed();
    rig.finish(co);
    rig.plug(co, "d", "virtio-blk-pci", "disk");
    rig.verify(co);
}

void host_full(Rig& rig, sim::Co& co) {
    rig.image({.file = "disk.raw", .format = "raw", .size = 64 * KiB});
    rig.add_node(co, "disk", "raw", "disk.raw");
    rig.plug(co, "d", "virtio-blk-pci", "disk", Value::dict({{"werror", "stop"}}));
    rig.arm("disk.raw", {sim::MediumFault::no_space}, 3);
    load(rig, 3, {.operations = 8, .area = 24 * KiB, .zeroes = 0, .discards = 0});
    while (!rig.finished()) {
        co.sleep(sim::microseconds(1));
        if (!rig.machine->running()) rig.qmp(co, "cont");
    }
    rig.verify(co);
}

// The longer backing file of a shorter overlay must not show in what a resize adds.
void growing(Rig& rig, sim::Co& co) {
    rig.image({.file = "base.raw", .format = "raw", .size = 64 * KiB, .filled = 3});
    rig.image(overlay_image("disk.qcow2", 24 * KiB, "base.raw", "raw"));
    rig.add_node(co, "disk", "qcow2", "disk.qcow2");
    guest::CheckedDisk& disk = rig.plug(co, "d", "virtio-blk-pci", "disk");
    load(rig, 2, {.operations = 8, .area = 24 * KiB});
    if (!rig.world.keep("resize")) return rig.verify(co);
    co.moment("resize", 20);
    const auto begun = disk.oracle().begin_zeroes(24 * KiB, 40 * KiB);
    rig.qmp(co, "block_resize", Value::dict({{"node-name", "disk"}, {"size", 64 * KiB}}));
    disk.oracle().end_change(begun, 24 * KiB, 40 * KiB, true);
    rig.verify(co);
}

// What a disk stands on is taken away and put back, how it treats discards changes, and some of
// what is asked for is refused. A second disk stands on the same.
void reopened(Rig& rig, sim::Co& co) {
    rig.image({.file = "base.raw", .format = "raw", .size = 64 * KiB});
    rig.add_node(co, "base", "raw", "base.raw", Value::dict({{"read-only", true}}));
    for (const std::string name : {"disk", "twin"}) {
        rig.image(overlay_image(name + ".qcow2", 64 * KiB, "base.raw", "raw"));
        rig.add_node(co, name, "qcow2", name + ".qcow2", Value::dict({{"backing", "base"}}));
        rig.plug(co, name == "disk" ? "d" : "t", "virtio-blk-pci", name);
    }
    load(rig, 3, {.operations = 10, .area = 24 * KiB});
    start_load(rig, "t", 0, {.operations = 10, .area = 24 * KiB});
    const auto disk = [](Value backing, const char* discard) {
        return Value::dict({{"driver", "qcow2"},
                            {"node-name", "disk"},
                            {"file", "disk-file"},
                            {"backing", std::move(backing)},
                            {"discard", discard}});
    };
    const auto base = [](bool read_only) {
        return Value::dict({{"driver", "raw"},
                            {"node-name", "base"},
                            {"file", "base-file"},
                            {"read-only", read_only}});
    };
    Value mistake = base(true);
    mistake.set("size", 1);
    const auto reopen = [](Value one, Value two) {
        return Value::dict({{"options", Value::list({std::move(one), std::move(two)})}});
    };
    for (int i = 0; i < 3; ++i) {
        if (!rig.world.keep("reopen")) continue;
        co.moment("reopen", 20);
        if (rig.world.choose(2, "together with a mistake") == 1) {
            const std::string before = rig.layer.graph().dump();
            if (rig.try_qmp(co, "blockdev-reopen", reopen(disk(nullptr, "unmap"), mistake)))
                Rig::fail("a file has less than one sector");
            if (rig.layer.graph().dump() != before) Rig::fail("a refused reopen left a trace");
            continue;
        }
        rig.qmp(co, "blockdev-reopen", reopen(disk(nullptr, "unmap"), base(false)));
        co.moment("reopen", 20);
        rig.qmp(co, "blockdev-reopen", reopen(disk("base", "ignore"), base(true)));
    }
    rig.verify(co);
}

// A second writer is refused, and leaves no trace.
void ask_for_second_writer(Rig& rig, sim::Co& co) {
    const auto graph = [&] { return rig.qmp(co, "x-debug-query-block-graph"); };
    const Value seen = graph();
    const Value refused = Value::dict({{"driver", "raw"},
                                       {"node-name", "f1"},
                                       {"file", "disk"},
                                       {"offset", 512},
                                       {"read-only", true}});
    const Value top = Value::dict({{"driver", "raw"}, {"node-name", "top"}, {"file", "f1"}});
    if (rig.try_qmp(co, "blockdev-reopen", Value::dict({{"options", Value::list({top, refused})}})))
        Rig::fail("a writer on a read-only node");
    if (!(graph() == seen)) Rig::fail("a refused reopen left a trace");
    const std::string before = rig.layer.graph().dump();
    if (rig.try_qmp(co, "device_add",
                    Value::dict({{"driver", "virtio-blk-pci"}, {"id", "second"}, {"drive", "f1"}})))
        Rig::fail("two writers on one node");
    if (rig.layer.graph().dump() != before) Rig::fail("a refused device left a trace");
}

// Two filters on one node: the one writer moves from the first to the second.
void diamond(Rig& rig, sim::Co& co) {
    raw_disk(rig, co);
    rig.unplug(co, "d");
    const auto filter = [&](const std::string& name, const std::string& file) {
        rig.qmp(co, "blockdev-add",
                Value::dict({{"driver", "raw"}, {"node-name", name}, {"file", file}}));
    };
    const auto put_on = [&](const char* name, const char* file) {
        const Value options = Value::dict({{"driver", "raw"}, {"node-name", name}, {"file", file}});
        rig.qmp(co, "blockdev-reopen", Value::dict({{"options", Value::list({options})}}));
    };
    const bool swapped = rig.world.choose(2, "second filter first") == 1;
    filter(swapped ? "f2" : "f1", "disk");
    filter(swapped ? "f1" : "f2", "disk");
    filter("top", "f1");
    rig.plug(co, "d", "virtio-blk-pci", "top");
    load(rig, 2, {.operations = 6, .area = 24 * KiB, .discards = 0});
    if (rig.world.keep("one more layer below both")) {
        co.moment("one more layer", 10);
        rig.qmp(co, "blockdev-add",
                Value::dict({{"driver", "copy-on-read"}, {"node-name", "late"}, {"file", "disk"}}));
        put_on("f2", "late");
        put_on("f1", "late");
    }
    for (const char* next : {"f2", "f1", "f2"}) {
        if (!rig.world.keep("the writer moves")) continue;
        co.moment("the writer moves", 10);
        put_on("top", next);
    }
    if (rig.world.keep("a second writer is asked for")) ask_for_second_writer(rig, co);
    rig.verify(co);
}

const WorkloadRegistration all[] = {
    WorkloadRegistration({.name = "snapshots under load", .run = snapshots}),
    WorkloadRegistration({.name = "stop and cont under load", .run = stop_and_cont}),
    WorkloadRegistration({.name = "resets under load", .run = resets}),
    WorkloadRegistration({.name = "unplugging under load", .run = unplugging}),
    WorkloadRegistration({.name = "unplugging by reset", .run = unplugging_by_reset}),
    WorkloadRegistration({.name = "the host is full", .run = host_full}),
    WorkloadRegistration({.name = "growing a disk under load", .run = growing}),
    WorkloadRegistration({.name = "reopening under load", .run = reopened}),
    WorkloadRegistration({.name = "a writer moves between filters", .run = diamond}),
};

}  // namespace
}  // namespace hwmodels::campaign
