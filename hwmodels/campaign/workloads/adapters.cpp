// SPDX-License-Identifier: Apache-2.0
// Adapters that lose patience, or are lost: ports, tasks, units, buses and queues are reset or
// deleted under commands; units and whole controllers are unplugged; the machine is reset. Each
// with every kind of controller that has such a thing.
#include <cstring>

#include "hwmodels/campaign/guest_load.hpp"
#include "hwmodels/campaign/workload.hpp"
#include "hwmodels/guest/ahci.hpp"
#include "hwmodels/guest/bounce.hpp"
#include "hwmodels/guest/nvme.hpp"
#include "hwmodels/guest/open_disk.hpp"
#include "hwmodels/guest/virtio_scsi.hpp"
#include "hwmodels/scsi/bus.hpp"

namespace hwmodels::campaign {
namespace {

constexpr std::uint64_t KiB = 1024;
constexpr std::uint32_t any_moment = 60;

void add_node(Rig& rig, sim::Co& co, const std::string& name) {
    rig.image({.file = name + ".img", .format = "raw", .size = 64 * KiB});
    rig.add_node(co, name, "raw", name + ".img", Value::dict({{"discard", "unmap"}}));
}

void load(Rig& rig, const std::string& id, unsigned processes, bool errors_allowed,
          unsigned operations = 6) {
    for (unsigned process = 0; process < processes; ++process)
        start_load(rig, id, process,
                   {.operations = operations, .area = 24 * KiB, .errors_allowed = errors_allowed});
}

void add_adapter(Rig& rig, sim::Co& co, const char* model) {
    Value arguments = Value::dict({{"driver", model}, {"id", "adapter"}});
    if (model == std::string("ich9-ahci")) {  // its ports take drives only before the machine runs
        if (!rig.machine->add_device(co, arguments, Plug::cold)) Rig::fail("no AHCI adapter");
        return;
    }
    rig.qmp(co, "device_add", std::move(arguments));
}

// Two drives on two ports; the first port is reset.
void ahci(Rig& rig, sim::Co& co) {
    add_adapter(rig, co, "ich9-ahci");
    for (const std::string id : {"d", "e"}) {
        add_node(rig, co, id + "-disk");
        rig.plug(co, id, "ide-hd", id + "-disk",
                 Value::dict({{"bus", id == "d" ? "adapter.0" : "adapter.1"}}), Plug::cold);
    }
    load(rig, "d", 3, true);
    load(rig, "e", 1, false);
    rig.slow("d-disk.img", 4);
    const auto port = guest::AhciPort::of(*rig.machine, *rig.machine->find_device("d"));
    for (int i = 0; i < 2; ++i) {
        if (!rig.world.keep("reset of the port")) continue;
        co.moment("reset of the port", any_moment);
        if (!port->reset(co)) Rig::fail("the port does not become ready");
    }
    rig.verify(co);
}

// ---- NVMe --------------------------------------------------------------------------------------

// Queues of a few entries: they are full, and turn round, all the time.
void nvme_small_queues(Rig& rig, sim::Co& co) {
    add_node(rig, co, "disk");
    rig.plug(co, "d", "nvme", "disk", Value::dict({{"serial", "one"}}));
    auto& disk = dynamic_cast<guest::NvmeDisk&>(rig.disk("d").disk());
    guest::NvmeQueueShape shape;
    shape.submissions = 3 + rig.world.choose(4, "entries for commands");
    shape.completions = 2 + rig.world.choose(3, "entries for completions");
    if (!disk.reset(co, shape)) Rig::fail("the guest cannot start its disk with small queues");
    load(rig, "d", 5, false, 5);
    rig.slow("disk.img", 4);
    if (rig.world.keep("stop and cont")) {
        co.moment("stop", any_moment);
        rig.qmp(co, "stop");
        co.moment("cont", 5);
        rig.qmp(co, "cont");
    }
    rig.verify(co);
}

void nvme_queue_deleted(Rig& rig, sim::Co& co) {
    add_node(rig, co, "disk");
    rig.plug(co, "d", "nvme", "disk", Value::dict({{"serial", "one"}}));
    load(rig, "d", 4, true);
    rig.slow("disk.img", 4);
    for (int i = 0; i < 2; ++i) {
        if (!rig.world.keep("deletion of the queue")) continue;
        co.moment("deletion of the queue", any_moment);
        auto& disk = dynamic_cast<guest::NvmeDisk&>(rig.disk("d").disk());
        if (!disk.remake_queue(co)) Rig::fail("the guest cannot make its queue anew");
    }
    rig.verify(co);
}

void unplug_and_plug(Rig& rig, sim::Co& co, const char* model, const Value& more) {
    add_node(rig, co, "disk");
    rig.plug(co, "d", model, "disk", more);
    for (int i = 0; i < 2; ++i) {
        load(rig, "d", 3, true, 4);
        if (!rig.world.keep("unplugging")) continue;
        rig.slow("disk.img", 2);
        co.moment("unplugging", any_moment);
        rig.unplug(co, "d");
        rig.finish(co);
        rig.plug(co, "d", model, "disk", more);
    }
    rig.verify(co);
}

// The machine is reset before the guest has let go of the disk: it goes under its commands.
void nvme_unplugged_by_reset(Rig& rig, sim::Co& co) {
    const Value more = Value::dict({{"serial", "one"}});
    add_node(rig, co, "disk");
    rig.plug(co, "d", "nvme", "disk", more);
    load(rig, "d", 3, true);
    rig.slow("disk.img", 4);
    if (rig.world.keep("unplugging")) {
        co.moment("unplugging", any_moment);
        rig.qmp(co, "device_del", Value::dict({{"id", "d"}}));
        rig.qmp(co, "system_reset");
        rig.wait_event(co, "DEVICE_DELETED", Value::dict({{"device", "d"}}));
        rig.disk("d").surprise_removed();
        rig.finish(co);
        rig.plug(co, "d", "nvme", "disk", more);
    }
    rig.verify(co);
}

void nvme_unplugged(Rig& rig, sim::Co& co) {
    unplug_and_plug(rig, co, "nvme", Value::dict({{"serial", "one"}}));
}

// ---- SCSI --------------------------------------------------------------------------------------

const char* choose_adapter(Rig& rig) {
    return rig.world.choose(2, "adapter") == 0 ? "virtio-scsi-pci" : "lsi53c895a";
}

guest::ScsiPath& path_of(Rig& rig, const char* id) {
    return dynamic_cast<guest::ScsiGuestDisk&>(rig.disk(id).disk()).path();
}

// Two units; what is reset under their commands is one unit, both, or the adapter.
void scsi_resets(Rig& rig, sim::Co& co) {
    add_adapter(rig, co, choose_adapter(rig));
    for (const std::string id : {"d", "e"}) {
        add_node(rig, co, id + "-disk");
        rig.plug(co, id, "scsi-hd", id + "-disk");
        load(rig, id, 2, true);
        rig.slow(id + "-disk.img", 4);
    }
    for (int i = 0; i < 2; ++i) {
        if (!rig.world.keep("reset")) continue;
        const auto what = static_cast<guest::ScsiReset>(rig.world.choose(4, "what is reset"));
        co.moment("reset", any_moment);
        const sim::IoStatus done = path_of(rig, "d").reset(co, what);
        if (!done && done.error() != sim::Errno::not_supported &&
            done.error() != sim::Errno::canceled)
            Rig::fail("the guest cannot reset its SCSI adapter");
    }
    rig.verify(co);
}

// A process that has no patience: it aborts its own commands. When they are answered, the memory
// they had is its own again. Others do not notice.
class Impatient {
public:
    static constexpr std::uint64_t place = 48 * KiB;  // where nobody else writes

    Impatient(Rig& rig, bool writes) : rig_(rig), writes_(writes), memory_(*rig.machine, 4 * KiB) {
        if (memory_.bytes() == nullptr) Rig::fail("the guest is out of memory");
    }

    void run(sim::Co& co, std::uint32_t number) {
        auto& disk = dynamic_cast<guest::ScsiGuestDisk&>(rig_.disk("d").disk());
        const auto& unit = static_cast<const ScsiDevice&>(*rig_.machine->find_device("d"));
        const std::uint32_t target = unit.target, lun = unit.lun;
        const int devfn = guest::pci_function_of(unit)->devfn;
        guest::ScsiCommand command;
        command.cdb[0] = std::byte{writes_ ? scsi::write_10 : scsi::read_10};
        command.cdb_bytes = 10;
        command.direction =
            writes_ ? guest::DataDirection::to_device : guest::DataDirection::from_device;
        command.data = memory_.address();
        command.length = 4 * KiB;
        command.set(2, 4, place / 512);
        command.set(7, 2, 8);
        fill(number);
        const std::vector<std::byte> given = contents();
        auto& oracle = rig_.disk("d").oracle();
        const auto begun = writes_ ? oracle.begin_write(place, given) : 0;
        sim::IoStatus status;
        auto issuer = rig_.world.spawn(rig_.machine->cpu(), "impatient guest", [&](sim::Co& inner) {
            status = disk.execute_raw(inner, command);
        });
        co.moment("abort", any_moment);
        if (command.tag != 0) {
            const auto adapter = guest::VirtioScsi::adapter_at(co, *rig_.machine, devfn);
            if (!adapter) Rig::fail("the adapter is gone");
            const auto told =
                (*adapter)->manage(co, guest::TaskFunction::abort_task, target, lun, command.tag);
            if (!told || *told != 0) Rig::fail("a task cannot be aborted");
        }
        issuer.join(co);
        if (writes_)
            oracle.end_change(begun, place, 4 * KiB,
                              status.has_value() && command.status == scsi::good);
        fill(number + 1000);
        const std::vector<std::byte> mine = contents();
        co.moment("later", any_moment);
        if (contents() != mine) Rig::fail("an aborted command has written to the guest's memory");
    }

private:
    void fill(std::uint64_t number) {
        for (std::uint64_t at = 0; at < 4 * KiB; at += 8)
            store(memory_.bytes() + at, number << 32 | at);
    }
    std::vector<std::byte> contents() const { return {memory_.bytes(), memory_.bytes() + 4 * KiB}; }

    Rig& rig_;
    bool writes_;
    guest::Bounce memory_;
};

void scsi_aborts(Rig& rig, sim::Co& co) {
    add_adapter(rig, co, "virtio-scsi-pci");
    add_node(rig, co, "disk");
    rig.plug(co, "d", "scsi-hd", "disk");
    load(rig, "d", 2, false);
    rig.slow("disk.img", 4);
    for (std::uint32_t i = 0; i < 2; ++i) {
        if (!rig.world.keep("abort")) continue;
        Impatient process(rig, rig.world.choose(2, "an aborted write") == 0);
        process.run(co, i + 1);
    }
    rig.verify(co);
}

// A unit goes at once, its neighbour stays; then the adapter goes with what is left.
void scsi_unplugged(Rig& rig, sim::Co& co) {
    add_adapter(rig, co, choose_adapter(rig));
    for (const std::string id : {"d", "e"}) {
        add_node(rig, co, id + "-disk");
        rig.plug(co, id, "scsi-hd", id + "-disk");
        load(rig, id, 2, id == "d", 4);
        rig.slow(id + "-disk.img", 2);
    }
    if (rig.world.keep("reset"))
        rig.spawn("guest loses patience", [&rig](sim::Co& inner) {
            inner.moment("reset", any_moment);
            (void)path_of(rig, "d").reset(inner, guest::ScsiReset::unit).has_value();
        });
    if (rig.world.keep("a unit is unplugged")) {
        co.moment("a unit is unplugged", any_moment);
        rig.unplug(co, "d");
        rig.finish(co);
        rig.plug(co, "d", "scsi-hd", "d-disk");
    }
    load(rig, "d", 1, true, 3);
    if (rig.world.keep("the adapter is unplugged")) {
        load(rig, "e", 1, true, 3);
        co.moment("the adapter is unplugged", any_moment);
        rig.unplug(co, "adapter");
        rig.finish(co);
        for (const char* id : {"d", "e"}) rig.forget_disk(id);
        add_adapter(rig, co, choose_adapter(rig));
        for (const std::string id : {"d", "e"}) rig.plug(co, id, "scsi-hd", id + "-disk");
    }
    rig.verify(co);
}

// ---- the machine -------------------------------------------------------------------------------

struct Kind {
    const char* adapter;  // nullptr: none is needed
    const char* model;
    const char* bus;  // nullptr: whichever there is
};
constexpr Kind kinds[] = {
    {nullptr, "virtio-blk-pci", nullptr},    {nullptr, "nvme", nullptr},
    {"virtio-scsi-pci", "scsi-hd", nullptr}, {"lsi53c895a", "scsi-hd", nullptr},
    {"ich9-ahci", "ide-hd", "adapter.0"},    {nullptr, "ide-hd", "ide.0"},
};

void plug_any(Rig& rig, sim::Co& co) {
    const Kind& kind = kinds[rig.world.choose(std::size(kinds), "kind of disk")];
    add_node(rig, co, "disk");
    if (kind.adapter != nullptr) add_adapter(rig, co, kind.adapter);
    Value more = Value::dict();
    if (kind.bus != nullptr) more.set("bus", kind.bus);
    if (kind.model == std::string("nvme")) more.set("serial", "one");
    rig.plug(co, "d", kind.model, "disk", more, kind.bus != nullptr ? Plug::cold : Plug::hot);
}

// A snapshot's drained section may fall into the stop.
void machine_stopped(Rig& rig, sim::Co& co) {
    plug_any(rig, co);
    rig.image(overlay_image("overlay.img", 64 * KiB, "disk.img", "raw"));
    rig.add_node(co, "overlay", "qcow2", "overlay.img",
                 Value::dict({{"backing", nullptr}, {"discard", "unmap"}}));
    load(rig, "d", 3, false, 10);
    const auto written = [&rig] {
        std::uint64_t all = 0;
        for (const char* file : {"disk.img", "overlay.img"})
            for (const sim::HostOp op : {sim::HostOp::write, sim::HostOp::write_zeroes,
                                         sim::HostOp::discard, sim::HostOp::read})
                all += rig.store.medium(file)->operations(op);
        return all;
    };
    for (int i = 0; i < 3; ++i) {
        if (rig.world.keep("stop and cont")) {
            co.moment("stop", 20);
            rig.qmp(co, "stop");
            const std::uint64_t before = written();
            co.moment("cont", 5);
            if (written() != before) Rig::fail("a guest that stands still uses its disk");
            rig.qmp(co, "cont");
        }
        if (i == 1 && rig.world.keep("snapshot")) {
            co.moment("snapshot", 20);
            rig.qmp(co, "blockdev-snapshot",
                    Value::dict({{"node", "disk"}, {"overlay", "overlay"}}));
        }
    }
    rig.verify(co);
}

// Disks that guests may see grow.
void grown(Rig& rig, sim::Co& co) {
    const Kind& kind = kinds[2 * rig.world.choose(2, "kind of disk")];
    rig.image({.file = "disk.img", .format = "raw", .size = 24 * KiB});
    rig.add_node(co, "disk", "raw", "disk.img", Value::dict({{"discard", "unmap"}}));
    if (kind.adapter != nullptr) add_adapter(rig, co, kind.adapter);
    guest::CheckedDisk& disk = rig.plug(co, "d", kind.model, "disk");
    load(rig, "d", 3, false, 8);
    for (std::uint64_t size = 24 * KiB; size < 56 * KiB; size += 16 * KiB) {
        if (!rig.world.keep("resize")) break;
        co.moment("resize", any_moment);
        const auto begun = disk.oracle().begin_zeroes(size, 16 * KiB);
        rig.qmp(co, "block_resize",
                Value::dict({{"node-name", "disk"}, {"size", size + 16 * KiB}}));
        disk.oracle().end_change(begun, size, 16 * KiB, true);
    }
    rig.verify(co);
}

// The guest's processes are gone with their memory, what runs on the host is not.
void machine_reset(Rig& rig, sim::Co& co) {
    plug_any(rig, co);
    for (int i = 0; i < 2; ++i) {
        load(rig, "d", 3, true, 5);
        rig.slow("disk.img", 3);
        if (!rig.world.keep("system reset")) continue;
        co.moment("system reset", any_moment);
        rig.qmp(co, "system_reset");
        rig.disk("d").surprise_removed();
        rig.finish(co);
        rig.open_again(co, "d", "disk");
    }
    rig.verify(co);
}

const WorkloadRegistration all[] = {
    WorkloadRegistration({.name = "AHCI ports reset under load", .run = ahci}),
    WorkloadRegistration({.name = "NVMe disk with small queues", .run = nvme_small_queues}),
    WorkloadRegistration({.name = "NVMe queue deleted under load", .run = nvme_queue_deleted}),
    WorkloadRegistration({.name = "NVMe disk unplugged under load", .run = nvme_unplugged}),
    WorkloadRegistration({.name = "NVMe disk unplugged by reset", .run = nvme_unplugged_by_reset}),
    WorkloadRegistration({.name = "SCSI resets under load", .run = scsi_resets}),
    WorkloadRegistration({.name = "SCSI tasks aborted under load", .run = scsi_aborts}),
    WorkloadRegistration({.name = "SCSI units and adapters unplugged", .run = scsi_unplugged}),
    WorkloadRegistration({.name = "growing disks that guests see grow", .run = grown}),
    WorkloadRegistration({.name = "machine reset under load", .run = machine_reset}),
    WorkloadRegistration({.name = "machine stopped, every kind of disk", .run = machine_stopped}),
};

}  // namespace
}  // namespace hwmodels::campaign
