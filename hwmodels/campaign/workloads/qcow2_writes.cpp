// SPDX-License-Identifier: Apache-2.0
// Small writes to a qcow2 image by several guest processes at once: alone, over a backing file,
// with hardly any cache, with errors of the host, and with a power cut at any moment.
#include "hwmodels/campaign/guest_load.hpp"
#include "hwmodels/campaign/workload.hpp"

namespace hwmodels::campaign {
namespace {

constexpr std::uint64_t KiB = 1024;
constexpr std::uint64_t cluster = 4 * KiB;

// Two tables of each kind: every other access has to write one back.
constexpr blocklayer::LayerLimits tiny{.qcow2_l2_cache_bytes = 2 * cluster,
                                       .qcow2_refcount_cache_bytes = 2 * cluster};

void set_up(Rig& rig, sim::Co& co, std::uint64_t size, Value device = {}) {
    rig.image({.file = "disk.qcow2",
               .format = "qcow2",
               .size = size,
               .create = Value::dict({{"cluster-size", cluster}})});
    rig.add_node(co, "disk", "qcow2", "disk.qcow2", Value::dict({{"discard", "unmap"}}));
    rig.plug(co, "d", "virtio-blk-pci", "disk", std::move(device));
}

void load(Rig& rig, unsigned processes, const LoadOptions& options) {
    for (unsigned process = 0; process < processes; ++process)
        start_load(rig, "d", process, options);
}

void alone(Rig& rig, sim::Co& co) {
    set_up(rig, co, 64 * KiB);
    load(rig, 3, {.operations = 8, .area = 24 * KiB, .longest = 12 * KiB});
    rig.verify(co);
}

void over_backing(Rig& rig, sim::Co& co) {
    rig.image({.file = "base.qcow2", .format = "qcow2", .size = 32 * KiB, .filled = 1});
    rig.image({.file = "disk.qcow2",
               .format = "qcow2",
               .size = 64 * KiB,
               .create = Value::dict({{"cluster-size", cluster},
                                      {"backing-file", "base.qcow2"},
                                      {"backing-fmt", "qcow2"}})});
    rig.add_node(co, "disk", "qcow2", "disk.qcow2", Value::dict({{"discard", "unmap"}}));
    guest::CheckedDisk& disk = rig.plug(co, "d", "virtio-blk-pci", "disk");
    std::vector<std::byte> first(64 * KiB);  // teaches the oracle what was there
    if (!disk.read(co, 0, first)) Rig::fail("the first read failed");
    load(rig, 3, {.operations = 8, .area = 48 * KiB, .longest = 6 * KiB});
    rig.verify(co);
}

void tiny_caches(Rig& rig, sim::Co& co) {
    // Each L2 table describes 2 MiB: the areas of these processes are in different ones.
    set_up(rig, co, 16 * 1024 * KiB);
    for (unsigned process = 0; process < 2; ++process)
        rig.spawn("guest load", [&rig, process](sim::Co& inner) {
            guest::CheckedDisk& disk = rig.disk("d");
            sim::RandomStream& random = rig.world.rng("tiny caches");
            std::vector<std::byte> data(cluster, static_cast<std::byte>(0x11 + process));
            for (int i = 0; i < 16; ++i) {
                const std::uint64_t at = random.below(8) * 2048 * KiB + random.below(3) * cluster;
                const bool zeroes = random.chance(1, 3);
                const sim::IoStatus status =
                    zeroes ? disk.write_zeroes(inner, at, cluster, random.chance(2, 3))
                           : disk.write(inner, at, data);
                if (!status) Rig::fail("a guest request failed");
            }
        });
    rig.verify(co);
}

void host_errors(Rig& rig, sim::Co& co) {
    set_up(rig, co, 64 * KiB);
    rig.errors_injected = true;
    sim::RandomStream& random = rig.world.rng("host errors");
    sim::MemoryMedium& medium = *rig.store.medium("disk.qcow2");
    for (int i = 0; i < 2; ++i)
        medium.add_fault({.op = sim::HostOp::write, .skip = random.below(12)});
    LoadOptions options{.operations = 6, .area = 16 * KiB};
    options.errors_allowed = true;
    load(rig, 3, options);
    rig.finish(co);
    medium.clear_faults();
    rig.verify(co);
}

void power_cut(Rig& rig, sim::Co& co) {
    const bool write_through = rig.world.rng("configuration").chance(1, 4);
    set_up(rig, co, 64 * KiB,
           write_through ? Value::dict({{"write-cache", "off"}}) : Value::dict());
    load(rig, 2, {.operations = 12, .area = 24 * KiB, .discards = 2, .flushes = 2});
    rig.some_time(co, 120);
    rig.cut_power_and_verify(co);
}

const WorkloadRegistration writes({.name = "qcow2 writes", .run = alone});
const WorkloadRegistration backing({.name = "qcow2 writes over a backing file",
                                    .run = over_backing});
const WorkloadRegistration scarce({.name = "qcow2 writes with tiny caches",
                                   .run = tiny_caches,
                                   .limits = tiny});
const WorkloadRegistration errors({.name = "qcow2 writes with host errors", .run = host_errors});
const WorkloadRegistration cut({.name = "qcow2 writes, power cut",
                                .run = power_cut,
                                .cache = sim::WriteCache::volatile_});
const WorkloadRegistration scarce_cut({.name = "qcow2 writes with tiny caches, power cut",
                                       .run = power_cut,
                                       .limits = tiny,
                                       .cache = sim::WriteCache::volatile_});

}  // namespace
}  // namespace hwmodels::campaign
