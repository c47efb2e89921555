// SPDX-License-Identifier: Apache-2.0
#include "hwmodels/campaign/small_worlds.hpp"

#include <fmt/format.h>

#include <vector>

#include "blocklayer/graph/drain.hpp"

namespace hwmodels::campaign {
namespace {

constexpr std::uint64_t KiB = 1024, sector = 512;

// A guest process that makes requests on one disk, one after the other.
class Guest {
public:
    Guest(Rig& rig, std::string disk, unsigned number)
        : rig_(rig), disk_(std::move(disk)), number_(number) {}

    void write(sim::Co& co, std::uint64_t offset, std::uint64_t length) const {
        const std::vector<std::byte> data(length, static_cast<std::byte>(number_ + 1));
        note("write", rig_.disk(disk_).write(co, offset, data));
    }
    std::string name() const { return fmt::format("process {} of {}", number_, disk_); }

private:
    void note(const char* what, const sim::IoStatus& status) const {
        rig_.seen[name()] +=
            fmt::format(" {} {}", what, status ? "done" : sim::errno_text(status.error()));
    }
    Rig& rig_;
    std::string disk_;
    unsigned number_;
};

template <class Body>
void guest(Rig& rig, const char* disk, unsigned number, Body body) {
    const Guest process(rig, disk, number);
    rig.seen[process.name()];  // so that nobody adds to the map itself
    rig.spawn(
        "guest process", [process, body](sim::Co& co) { body(process, co); },
        sim::Place::named("guest process", process.name()));
}

// What plugging in leaves to do is done.
void settle(sim::Co& co) { co.sleep(sim::milliseconds(1)); }

void raw_disk(Rig& rig, sim::Co& co, const std::string& name) {
    rig.image({.file = name + ".img", .format = "raw", .size = 4 * KiB, .filled = 1});
    rig.add_node(co, name, "raw", name + ".img", Value::dict({{"discard", "unmap"}}));
    rig.plug(co, "d-" + name, "virtio-blk-pci", name, Value::dict({{"queue-size", 4}}));
}

void overlay(Rig& rig, sim::Co& co) {
    rig.image({.file = "base.img", .format = "raw", .size = 4 * KiB, .filled = 2});
    rig.image(overlay_image("over.img", 4 * KiB, "base.img", "raw", KiB));
    rig.add_node(co, "base", "raw", "base.img");
    rig.add_node(co, "over", "qcow2", "over.img",
                 Value::dict({{"backing", "base"}, {"discard", "unmap"}}));
    rig.plug(co, "d-over", "virtio-blk-pci", "over", Value::dict({{"queue-size", 4}}));
    settle(co);
}

// What a client of QMP is told; a refusal is an answer as good as any.
void ask(Rig& rig, sim::Co& co, const char* client, std::string_view command, Value arguments) {
    const auto answer = rig.try_qmp(co, command, std::move(arguments));
    rig.seen[client] += answer ? " done" : " " + answer.error().text;
}

void two_disks(Rig& rig, sim::Co& co) {
    raw_disk(rig, co, "one");
    raw_disk(rig, co, "two");
    settle(co);
}

void one_disk(Rig& rig, sim::Co& co) {
    raw_disk(rig, co, "one");
    settle(co);
}

void end(Rig& rig, sim::Co& co) {
    rig.finish(co);
    rig.verify(co);
}

void write_one(const Guest& guest, sim::Co& co) { guest.write(co, 0, KiB); }

void write_each(Rig& rig, sim::Co& co) {
    guest(rig, "d-one", 1, write_one);
    guest(rig, "d-two", 2, write_one);
    end(rig, co);
}

void overlapping(Rig& rig, sim::Co& co) {
    guest(rig, "d-over", 1, [](const Guest& guest, sim::Co& own) { guest.write(own, 0, KiB); });
    guest(rig, "d-over", 2,
          [](const Guest& guest, sim::Co& own) { guest.write(own, sector, KiB); });
    end(rig, co);
}

void disk_and_overlay(Rig& rig, sim::Co& co) {
    raw_disk(rig, co, "one");
    overlay(rig, co);
}

void raw_and_qcow2(Rig& rig, sim::Co& co) {
    guest(rig, "d-one", 1, write_one);
    guest(rig, "d-over", 2,
          [](const Guest& guest, sim::Co& own) { guest.write(own, sector, sector); });
    end(rig, co);
}

void disk_and_target(Rig& rig, sim::Co& co) {
    raw_disk(rig, co, "one");
    rig.image({.file = "copy.img", .format = "raw", .size = 4 * KiB});
    rig.add_node(co, "copy", "raw", "copy.img", Value::dict({{"discard", "unmap"}}));
    settle(co);
}

void mirrored(Rig& rig, sim::Co& co) {
    rig.qmp(co, "blockdev-mirror",
            Value::dict({{"job-id", "m"},
                         {"device", "one"},
                         {"target", "copy"},
                         {"sync", "none"},
                         {"granularity", KiB}}));
    rig.wait_event(co, "JOB_STATUS_CHANGE", Value::dict({{"id", "m"}, {"status", "ready"}}));
    guest(rig, "d-one", 1, write_one);
    rig.spawn("administrator", [&rig](sim::Co& own) {
        ask(rig, own, "administrator", "job-cancel", Value::dict({{"id", "m"}}));
        rig.wait_event(own, "JOB_STATUS_CHANGE", Value::dict({{"id", "m"}, {"status", "null"}}));
    });
    end(rig, co);
}

void drained(Rig& rig, sim::Co& co) {
    guest(rig, "d-one", 1, write_one);
    guest(rig, "d-two", 2, write_one);
    rig.spawn("drainer", [&rig](sim::Co& own) {
        blocklayer::Drain::wait_idle(own, *rig.layer.find_node("one"));
        rig.seen["drainer"] += "idle";
    });
    end(rig, co);
}

void resized(Rig& rig, sim::Co& co) {
    guest(rig, "d-one", 1,
          [](const Guest& guest, sim::Co& own) { guest.write(own, 3 * KiB, KiB); });
    guest(rig, "d-two", 2, write_one);
    rig.spawn("administrator", [&rig](sim::Co& own) {
        ask(rig, own, "administrator", "block_resize",
            Value::dict({{"node-name", "one"}, {"size", 6 * KiB}}));
    });
    end(rig, co);
}

void plugged(Rig& rig, sim::Co& co) {
    guest(rig, "d-one", 1, write_one);
    rig.spawn("hotplugger", [&rig](sim::Co& own) { raw_disk(rig, own, "two"); });
    end(rig, co);
}

void unplugged(Rig& rig, sim::Co& co) {
    guest(rig, "d-one", 1, write_one);
    guest(rig, "d-two", 2, [](const Guest& guest, sim::Co& own) { guest.write(own, 0, sector); });
    rig.spawn("hotplugger", [&rig](sim::Co& own) { rig.unplug(own, "d-two"); });
    end(rig, co);
}

void refused(Rig& rig, sim::Co& co) {
    guest(rig, "d-one", 1, write_one);
    for (const char* client : {"client 1", "client 2"})
        rig.spawn("client", [&rig, client](sim::Co& own) {
            ask(rig, own, client, "blockdev-del", Value::dict({{"node-name", "free"}}));
        });
    end(rig, co);
}

void with_free_node(Rig& rig, sim::Co& co) {
    raw_disk(rig, co, "one");
    rig.image({.file = "free.img", .format = "raw", .size = KiB});
    rig.add_node(co, "free", "raw", "free.img");
    settle(co);
}

std::vector<Workload> make_worlds() {
    std::vector<Workload> worlds{
        {.name = "two disks", .run = write_each, .prepare = two_disks},
        {.name = "overlapping writes", .run = overlapping, .prepare = overlay},
        {.name = "raw and qcow2", .run = raw_and_qcow2, .prepare = disk_and_overlay},
        {.name = "mirror", .run = mirrored, .prepare = disk_and_target},
        {.name = "drain", .run = drained, .prepare = two_disks},
        {.name = "resize", .run = resized, .prepare = two_disks},
        {.name = "hotplug", .run = plugged, .prepare = one_disk},
        {.name = "unplug", .run = unplugged, .prepare = two_disks},
        {.name = "two clients", .run = refused, .prepare = with_free_node},
    };
    for (Workload& world : worlds) world.compared = true;
    return worlds;
}

}  // namespace

const std::vector<Workload>& small_worlds() {
    static const std::vector<Workload> worlds = make_worlds();
    return worlds;
}

const Workload* find_small_world(std::string_view name) {
    for (const Workload& world : small_worlds())
        if (world.name == name) return &world;
    return nullptr;
}

}  // namespace hwmodels::campaign
