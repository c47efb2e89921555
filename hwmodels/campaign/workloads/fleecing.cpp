// SPDX-License-Identifier: Apache-2.0
// The state a disk had at one moment is read while the guest goes on writing: what it would
// overwrite is copied elsewhere first. Readers come and go, parts are given up, hosts have errors.
#include <algorithm>

#include "blocklayer/graph/backend.hpp"
#include "hwmodels/campaign/guest_load.hpp"
#include "hwmodels/campaign/workload.hpp"

namespace hwmodels::campaign {
namespace {

using blocklayer::BlockBackend;

constexpr std::uint64_t KiB = 1024;
constexpr std::uint64_t cluster = 64 * KiB;  // the least there is
constexpr std::uint64_t clusters = 3, disk_bytes = clusters * cluster;

struct Fleecing {
    std::vector<std::byte> then;  // the state that is to be seen
    std::vector<bool> given_up{std::vector<bool>(clusters)};
    bool may_break = false;  // a copy may fail, and the state is lost with it
};

std::unique_ptr<BlockBackend> backend_on(Rig& rig, const char* node, blocklayer::PermSet used) {
    auto backend =
        BlockBackend::make(rig.layer, {.used = used, .shared = blocklayer::PermSet::all()});
    if (!backend->insert(*rig.layer.find_node(node)))
        Rig::fail(std::string("nobody may use node ") + node);
    return backend;
}

void guests(Rig& rig, unsigned processes, bool errors_allowed) {
    for (unsigned process = 0; process < processes; ++process)
        start_load(rig, "d", process,
                   {.operations = 6,
                    .area = 4 * KiB,
                    .pieces = clusters,
                    .stride = cluster,
                    .longest = 3 * KiB,
                    .reads = 2,
                    .zeroes = 3,
                    .discards = 3,
                    .errors_allowed = errors_allowed});
}

// Somebody who reads the state from then, in pieces that cross clusters.
void read_state(Rig& rig, sim::Co& co, Fleecing& fleecing) {
    const auto reader = backend_on(rig, "access", blocklayer::Perm::consistent_read);
    for (int i = 0; i < 3; ++i) {
        co.moment("reader of an earlier state", 20);
        const std::uint64_t at =
            rig.world.choose(3 * clusters, "place of the reader") * cluster / 3 &
            ~std::uint64_t{511};
        std::vector<std::byte> data(std::min(cluster / 2, disk_bytes - at));
        const bool read = reader->read(co, at, std::span(data)).has_value();
        // What is given up meanwhile reads as anything, or not at all.
        if (fleecing.given_up[at / cluster] || fleecing.given_up[(at + data.size() - 1) / cluster])
            continue;
        if (!read && !fleecing.may_break) Rig::fail("the earlier state cannot be read");
        if (read && !std::equal(data.begin(), data.end(),
                                fleecing.then.begin() + static_cast<std::ptrdiff_t>(at)))
            Rig::fail("the earlier state reads as it never was");
    }
    reader->remove();
}

void give_up(Rig& rig, sim::Co& co, Fleecing& fleecing) {
    const auto user = backend_on(rig, "access", blocklayer::Perm::write);
    const std::uint32_t which = rig.world.choose(clusters, "what is given up");
    co.moment("a part is given up", 30);
    fleecing.given_up[which] = true;  // from here on it may be gone
    if (!user->discard(co, which * cluster, cluster))
        Rig::fail("a part of the earlier state cannot be given up");
    user->remove();
}

void set_up(Rig& rig, sim::Co& co) {
    rig.image({.file = "disk.raw", .format = "raw", .size = disk_bytes, .filled = 1});
    rig.image({.file = "kept.raw", .format = "raw", .size = disk_bytes});
    rig.add_node(co, "disk", "raw", "disk.raw", Value::dict({{"discard", "unmap"}}));
    rig.add_node(co, "kept", "raw", "kept.raw", Value::dict({{"discard", "unmap"}}));
    rig.plug(co, "d", "virtio-blk-pci", "disk");
    rig.learn(co, "d");
}

void put_on(Rig& rig, sim::Co& co, const char* node) {
    rig.qmp(
        co, "qom-set",
        Value::dict({{"path", "/machine/peripheral/d"}, {"property", "drive"}, {"value", node}}));
}

// The filter comes between the guest and its disk, with nothing under way.
void begin(Rig& rig, sim::Co& co, Fleecing& fleecing, const Value& more) {
    Value options = Value::dict({{"driver", "copy-before-write"},
                                 {"node-name", "filter"},
                                 {"discard", "unmap"},
                                 {"file", "disk"},
                                 {"target", "kept"}});
    for (const auto& [name, value] : more.members()) options.set(name, value);
    rig.qmp(co, "blockdev-add", std::move(options));
    put_on(rig, co, "filter");
    rig.qmp(co, "blockdev-add",
            Value::dict({{"driver", "snapshot-access"},
                         {"node-name", "access"},
                         {"file", "filter"},
                         {"discard", "unmap"}}));
    fleecing.then.resize(disk_bytes);
    rig.store.medium("disk.raw")->contents().read(0, fleecing.then);
}

void end(Rig& rig, sim::Co& co) {
    rig.qmp(co, "blockdev-del", Value::dict({{"node-name", "access"}}));
    put_on(rig, co, "disk");
    rig.qmp(co, "blockdev-del", Value::dict({{"node-name", "filter"}}));
}

void fleeced(Rig& rig, sim::Co& co) {
    Fleecing fleecing;
    guests(rig, 1, false);
    rig.finish(co);
    begin(rig, co, fleecing, Value::dict());
    guests(rig, 3, false);
    for (const char* file : {"disk.raw", "kept.raw"}) rig.slow(file, 4);
    for (int i = 0; i < 2; ++i)
        if (rig.world.keep("reader"))
            rig.spawn("reader", [&](sim::Co& inner) { read_state(rig, inner, fleecing); });
    if (rig.world.keep("a part is given up"))
        rig.spawn("owner", [&](sim::Co& inner) { give_up(rig, inner, fleecing); });
    rig.finish(co);
    read_state(rig, co, fleecing);
    end(rig, co);
    rig.verify(co);
}

// What cannot be copied breaks the guest's write, or the earlier state.
void fleeced_with_errors(Rig& rig, sim::Co& co) {
    Fleecing fleecing;
    const bool breaks_write = rig.world.choose(2, "what an error breaks") == 0;
    fleecing.may_break = !breaks_write;
    begin(rig, co, fleecing,
          Value::dict({{"on-cbw-error", breaks_write ? "break-guest-write" : "break-snapshot"}}));
    guests(rig, 3, breaks_write);
    for (const char* file : {"disk.raw", "kept.raw"}) rig.slow(file, 4);
    rig.arm("kept.raw", {sim::MediumFault::error, sim::MediumFault::torn}, 3);
    rig.finish(co);
    rig.disarm("kept.raw");
    for (int i = 0; i < 2; ++i) read_state(rig, co, fleecing);
    end(rig, co);
    rig.verify(co);
}

const WorkloadRegistration all[] = {
    WorkloadRegistration(
        {.name = "an earlier state is read under load", .run = fleeced, .prepare = set_up}),
    WorkloadRegistration({.name = "an earlier state is kept with host errors",
                          .run = fleeced_with_errors,
                          .prepare = set_up}),
};

}  // namespace
}  // namespace hwmodels::campaign
