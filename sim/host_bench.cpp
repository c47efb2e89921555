// SPDX-License-Identifier: Apache-2.0
// What a host read and write of 4 KiB cost, the suspension included.
#include "sim/memory_store.hpp"
#include "sim/resources.hpp"
#include "sim/testing/bench.hpp"
#include "sim/world.hpp"

namespace sim {
namespace {

enum class Direction : bool { read, write };

double ns_per_request(Direction direction, WriteCache cache) {
    constexpr std::uint64_t request = 4096, size = 1 << 20, requests = 300'000;
    World world;
    MemoryStore store(cache);
    auto file = *store.create("disk");
    std::vector<std::byte> data(request, std::byte{1});
    const IoView view{std::span<std::byte>(data)};
    return world.run([&](Co& co) {
        for (std::uint64_t at = 0; at < size; at += request) INVARIANT(file->write(co, at, view));
        const testing::CpuTimer timer;
        for (std::uint64_t i = 0; i < requests; ++i) {
            const std::uint64_t at = i * 7 * request % size;
            if (direction == Direction::read)
                INVARIANT(file->read(co, at, view));
            else
                INVARIANT(file->write(co, at, view));
            if (cache == WriteCache::volatile_ && i % 32 == 0) INVARIANT(file->flush(co));
        }
        return timer.seconds() / requests * 1e9;
    });
}

double ns_per_snapshot_and_write() {
    constexpr std::uint64_t request = 4096, size = 64 << 20, rounds = 100'000;
    const std::vector<std::byte> data(request, std::byte{1});
    ByteImage image;
    for (std::uint64_t at = 0; at < size; at += request) image.write(at, data);
    const testing::CpuTimer timer;
    for (std::uint64_t i = 0; i < rounds; ++i) {
        ByteImage copy = image;
        copy.write(i * 7 * request % size, data);
    }
    return timer.seconds() / rounds * 1e9;
}

// The price of asking SimGrid; a process can do so in one world only.
double ns_per_timed_operation() {
    constexpr int operations = 50'000;
    World world({.platform = Resources::from_spec(workstation_spec())});
    DiskTime& disk = Resources::of(world)->disk("nvme0");
    const testing::CpuTimer timer;
    world.run([&](Co& co) {
        for (int i = 0; i < operations; ++i) disk.read(co, 4096);
    });
    return timer.seconds() / operations * 1e9;
}

const testing::BenchRegistration registration("memory store", [](testing::BenchReport& report) {
    report.row("memory store 4 KiB read", ns_per_request(Direction::read, WriteCache::none), "ns");
    report.row("memory store 4 KiB write", ns_per_request(Direction::write, WriteCache::none),
               "ns");
    report.row("memory store 4 KiB write, volatile cache, flush every 32",
               ns_per_request(Direction::write, WriteCache::volatile_), "ns");
    report.row("byte image snapshot and 4 KiB write", ns_per_snapshot_and_write(), "ns");
    report.row("disk operation timed by SimGrid", ns_per_timed_operation(), "ns");
});

}  // namespace
}  // namespace sim
