// SPDX-License-Identifier: Apache-2.0
// Small writes to a qcow2 image by several guest processes at once: alone, over a backing file,
// with hardly any cache, with errors of the host, and with a power cut at any moment.
#include "hwmodels/campaign/guest_load.hpp"
#include "hwmodels/campaign/workload.hpp"

namespace hwmodels::campaign {
namespace {

constexpr std::uint64_t KiB = 1024;
constexpr std::uint64_t cluster = 4 * KiB;

// The smallest clusters: one L2 table describes 32 KiB, one block of refcounts 128 KiB.
constexpr std::uint64_t small_cluster = 512, small_l2_bytes = 32 * KiB;
// Two tables of each kind: every other access has to write one back.
constexpr blocklayer::LayerLimits tiny{.qcow2_l2_cache_bytes = 2 * small_cluster,
                                       .qcow2_refcount_cache_bytes = 2 * small_cluster};

void set_up(Rig& rig, sim::Co& co, std::uint64_t size, Value device = {}, Value create = {},
            unsigned filled = 0) {
    if (!create.is_dict()) create = Value::dict({{"cluster-size", cluster}});
    rig.image({.file = "disk.qcow2",
               .format = "qcow2",
               .size = size,
               .create = std::move(create),
               .filled = filled});
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

bool lazy_refcounts(Rig& rig) { return rig.world.choose(2, "lazy refcounts") == 1; }

void set_up_over_backing(Rig& rig, sim::Co& co) {
    rig.image({.file = "base.qcow2", .format = "qcow2", .size = 32 * KiB, .filled = 1});
    rig.image({.file = "disk.qcow2",
               .format = "qcow2",
               .size = 64 * KiB,
               .create = Value::dict({{"cluster-size", cluster},
                                      {"lazy-refcounts", lazy_refcounts(rig)},
                                      {"backing-file", "base.qcow2"},
                                      {"backing-fmt", "qcow2"}})});
    rig.add_node(co, "disk", "qcow2", "disk.qcow2", Value::dict({{"discard", "unmap"}}));
    rig.plug(co, "d", "virtio-blk-pci", "disk");
    rig.learn(co, "d");
}

void over_backing(Rig& rig, sim::Co& co) {
    set_up_over_backing(rig, co);
    load(rig, 3, {.operations = 8, .area = 48 * KiB, .longest = 6 * KiB});
    rig.verify(co);
}

void over_backing_power_cut(Rig& rig, sim::Co& co) {
    set_up_over_backing(rig, co);
    load(rig, 2, {.operations = 12, .area = 24 * KiB, .reads = 1, .discards = 2, .flushes = 4});
    rig.slow("disk.qcow2", 4);
    co.moment("power cut", 150);
    rig.cut_power_and_verify(co);
}

// Much is freed and taken again, while others still read it.
void crowded(Rig& rig, sim::Co& co) {
    set_up(rig, co, 16 * KiB, {}, Value::dict({{"cluster-size", small_cluster}}));
    load(rig, 4,
         {.operations = 10, .area = 4 * KiB, .longest = 2 * KiB, .reads = 5, .discards = 4});
    rig.verify(co);
}

// Places in eight L2 tables, more than there is room for.
constexpr LoadOptions scattered{.operations = 14,
                                .area = 12 * KiB,
                                .pieces = 8,
                                .stride = small_l2_bytes,
                                .longest = 6 * KiB,
                                .reads = 2,
                                .zeroes = 4,
                                .discards = 3};

// With 64 bits for each refcount a block of them describes 32 KiB as well.
Value small_clusters(Rig& rig) {
    return Value::dict({{"cluster-size", small_cluster},
                        {"refcount-bits", rig.world.choose(2, "wide refcounts") == 0 ? 16 : 64}});
}

void tiny_caches(Rig& rig, sim::Co& co) {
    const bool full = rig.world.choose(2, "the disk is full of data") == 1;
    set_up(rig, co, 8 * small_l2_bytes, {}, small_clusters(rig), full ? 5 : 0);
    if (full) rig.learn(co, "d");
    load(rig, 3, scattered);
    rig.verify(co);
}

void tiny_caches_power_cut(Rig& rig, sim::Co& co) {
    set_up(rig, co, 8 * small_l2_bytes, {}, small_clusters(rig));
    LoadOptions options = scattered;
    options.flushes = 4;
    options.reads = 1;
    load(rig, 2, options);
    rig.slow("disk.qcow2", 4);
    co.moment("power cut", 250);
    rig.cut_power_and_verify(co);
}

// Each few writes take what another block of refcounts describes, and hardly anything is flushed.
void growing_power_cut(Rig& rig, sim::Co& co) {
    set_up(rig, co, 8 * small_l2_bytes, {},
           Value::dict({{"cluster-size", small_cluster}, {"refcount-bits", 64}}));
    load(rig, 2,
         {.operations = 16,
          .area = 4 * small_l2_bytes,
          .longest = 12 * KiB,
          .reads = 0,
          .zeroes = 0,
          .discards = 1,
          .flushes = 1});
    rig.slow("disk.qcow2", 2);
    co.moment("power cut", 400);
    rig.cut_power_and_verify(co);
}

// What surrounds a write is copied up, and its L2 table is written back before long: whether
// refcounts are kept up to date or not, the data has to be there first.
constexpr std::uint64_t copied_cluster = 1 * KiB, copied_l2_bytes = 128 * KiB;
constexpr blocklayer::LayerLimits tiny_for_copies{.qcow2_l2_cache_bytes = 2 * copied_cluster,
                                                  .qcow2_refcount_cache_bytes = 2 * copied_cluster};

void copied_power_cut(Rig& rig, sim::Co& co) {
    rig.image({.file = "base.raw", .format = "raw", .size = 3 * copied_l2_bytes, .filled = 1});
    ImageSpec overlay =
        overlay_image("disk.qcow2", 3 * copied_l2_bytes, "base.raw", "raw", copied_cluster);
    overlay.create.set("lazy-refcounts", lazy_refcounts(rig));
    rig.image(overlay);
    rig.add_node(co, "disk", "qcow2", "disk.qcow2", Value::dict({{"discard", "unmap"}}));
    rig.plug(co, "d", "virtio-blk-pci", "disk");
    rig.learn(co, "d");
    load(rig, 2,
         {.operations = 14,
          .area = 8 * KiB,
          .pieces = 3,
          .stride = copied_l2_bytes,
          .longest = 1 * KiB,
          .reads = 1,
          .flushes = 1});
    rig.slow("disk.qcow2", 2);
    co.moment("power cut", 200);
    rig.cut_power_and_verify(co);
}

// The rest of a cluster cannot be read from the backing file: nothing may be left behind.
void backing_errors(Rig& rig, sim::Co& co) {
    rig.image({.file = "base.raw", .format = "raw", .size = 64 * KiB, .filled = 2});
    rig.image(overlay_image("disk.qcow2", 64 * KiB, "base.raw", "raw"));
    rig.add_node(co, "disk", "qcow2", "disk.qcow2");
    rig.plug(co, "d", "virtio-blk-pci", "disk");
    rig.arm("base.raw", {sim::MediumFault::error}, 3);
    LoadOptions options{.operations = 6, .area = 16 * KiB, .longest = 2 * KiB};
    options.errors_allowed = true;
    load(rig, 3, options);
    rig.finish(co);
    rig.disarm("base.raw");
    rig.verify(co);
}

void host_errors(Rig& rig, sim::Co& co) {
    set_up(rig, co, 64 * KiB, Value::dict({{"werror", "report"}}));
    rig.errors_injected = true;
    // Writes only: after a flush that failed no later one can succeed.
    rig.arm("disk.qcow2", {sim::MediumFault::no_space, sim::MediumFault::torn}, 2);
    LoadOptions options{.operations = 6, .area = 16 * KiB};
    options.errors_allowed = true;
    load(rig, 3, options);
    rig.finish(co);
    rig.disarm("disk.qcow2");
    rig.verify(co);
}

// Without a format there is nothing but flushes and what they cover.
void raw_power_cut(Rig& rig, sim::Co& co) {
    rig.image({.file = "disk.raw", .format = "raw", .size = 64 * KiB});
    rig.add_node(co, "disk", "raw", "disk.raw");
    rig.plug(co, "d", "virtio-blk-pci", "disk");
    load(rig, 3,
         {.operations = 10, .area = 4 * KiB, .reads = 0, .zeroes = 1, .discards = 0, .flushes = 6});
    rig.slow("disk.raw", 4);
    co.moment("power cut", 80);
    rig.cut_power_and_verify(co);
}

void power_cut(Rig& rig, sim::Co& co) {
    const bool write_through = rig.world.choose(4, "no write cache") == 1;
    set_up(rig, co, 64 * KiB,
           write_through ? Value::dict({{"write-cache", "off"}}) : Value::dict());
    load(rig, 2, {.operations = 12, .area = 24 * KiB, .reads = 1, .discards = 2, .flushes = 4});
    rig.slow("disk.qcow2", 4);
    co.moment("power cut", 150);
    rig.cut_power_and_verify(co);
}

const WorkloadRegistration writes({.name = "qcow2 writes", .run = alone});
const WorkloadRegistration backing({.name = "qcow2 writes over a backing file",
                                    .run = over_backing});
const WorkloadRegistration backing_cut({.name = "qcow2 writes over a backing file, power cut",
                                        .run = over_backing_power_cut,
                                        .cache = sim::WriteCache::volatile_});
const WorkloadRegistration crowd({.name = "qcow2 writes and discards in a small place",
                                  .run = crowded});
const WorkloadRegistration scarce({.name = "qcow2 writes with tiny caches",
                                   .run = tiny_caches,
                                   .limits = tiny});
const WorkloadRegistration errors({.name = "qcow2 writes with host errors", .run = host_errors});
const WorkloadRegistration cut({.name = "qcow2 writes, power cut",
                                .run = power_cut,
                                .cache = sim::WriteCache::volatile_});
const WorkloadRegistration raw_cut({.name = "raw writes, power cut",
                                    .run = raw_power_cut,
                                    .cache = sim::WriteCache::volatile_});
const WorkloadRegistration unreadable({.name = "qcow2 writes, the backing file has errors",
                                       .run = backing_errors});
const WorkloadRegistration copied_cut({.name = "qcow2 clusters are copied up, power cut",
                                       .run = copied_power_cut,
                                       .limits = tiny_for_copies,
                                       .cache = sim::WriteCache::volatile_});
const WorkloadRegistration growing_cut({.name = "qcow2 image that grows, power cut",
                                        .run = growing_power_cut,
                                        .limits = tiny,
                                        .cache = sim::WriteCache::volatile_});
const WorkloadRegistration scarce_cut({.name = "qcow2 writes with tiny caches, power cut",
                                       .run = tiny_caches_power_cut,
                                       .limits = tiny,
                                       .cache = sim::WriteCache::volatile_});

}  // namespace
}  // namespace hwmodels::campaign
