// SPDX-License-Identifier: Apache-2.0
// Holds:   the digest of a run is a function of the run alone: the same in every build, on every
//          machine, however often it is repeated and whatever ran before it in the process.
// Method:  one busy world (timers, locks, channels, draws, files, a power cut) against a number
//          written down here. A wanted change of what is digested changes the number.
#include "sim/memory_store.hpp"
#include "sim/sync.hpp"
#include "sim/testing/catch.hpp"
#include "sim/world.hpp"

namespace sim {
namespace {

constexpr std::uint64_t golden = 0x14b757897c2310e6;

std::uint64_t busy_world(std::uint64_t seed) {
    World world({.seed = seed, .schedule = random_schedule(seed)});
    Thread& iothread = world.add_thread("iothread", ThreadKind::iothread);
    MemoryStore store(WriteCache::volatile_);
    auto file = *store.create("image");
    Mutex mutex("mutex");
    Channel<int> channel("channel");
    const Subject disk = world.trace().subject("disk");
    for (int i = 0; i < 6; ++i)
        world.spawn(i % 2 == 0 ? world.main_thread() : iothread, "worker", [&, i](Co& co) {
            for (int turn = 0; turn < 20; ++turn) {
                co.sleep(nanoseconds(world.rng("delay").between(0, 50)));
                const MutexLock lock(co, mutex);
                std::vector<std::byte> data(700, static_cast<std::byte>(i));
                const std::uint64_t offset = world.rng("offset").below(100'000);
                const IoStatus status = file->write(co, offset, IoView(std::span(data)));
                world.emit("wrote", disk, offset, status ? 0 : 1);
                channel.send(turn);
                if (world.rng("flush").chance(1, 10)) INVARIANT(file->flush(co));
            }
        });
    world.spawn(iothread, "receiver", [&](Co& co) {
        for (int i = 0; i < 120; ++i) world.emit("got", {}, *channel.receive(co));
        co.move_to(world.main_thread());
    });
    world.run_until_idle();
    store.power_cut(world);
    const ByteImage& image = store.medium("image")->contents();
    std::vector<std::byte> bytes(image.size());
    image.read(0, bytes);
    for (const std::byte b : bytes) world.trace().mix(std::to_integer<std::uint64_t>(b));
    return world.trace().digest();
}

TEST_CASE("digest: the same run has the same digest, here and everywhere") {
    const std::uint64_t first = busy_world(42);
    CHECK(busy_world(43) != first);
    CHECK(busy_world(42) == first);
    CHECK(first == golden);
}

}  // namespace
}  // namespace sim
