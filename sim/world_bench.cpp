// SPDX-License-Identifier: Apache-2.0
// What the kernel itself costs: each row is CPU time for one of the things it names.
#include "sim/sync.hpp"
#include "sim/testing/bench.hpp"
#include "sim/world.hpp"

namespace sim {
namespace {

double fiber_switch_pair() {
    constexpr int switches = 2'000'000;
    World world;
    const testing::CpuTimer timer;
    world.run([](Co& co) {
        for (int i = 0; i < switches; ++i) co.yield("bench");
    });
    return timer.seconds() / switches * 1e9;
}

double fiber_spawn_and_finish() {
    constexpr int fibers = 500'000;
    World world;
    int finished = 0;
    const testing::CpuTimer timer;
    world.run([&](Co& co) {
        for (int i = 0; i < fibers; ++i)
            co.world().spawn(co.thread(), "bench", [&](Co&) { ++finished; }).join(co);
    });
    INVARIANT(finished == fibers);
    return timer.seconds() / fibers * 1e9;
}

double posted_handler() {
    constexpr int handlers = 1'000'000;
    World world;
    int ran = 0;
    const testing::CpuTimer timer;
    for (int i = 0; i < handlers; i += 100) {
        for (int k = 0; k < 100; ++k) world.post(world.main_thread(), "bench", [&] { ++ran; });
        world.run_until_idle();
    }
    INVARIANT(ran == handlers);
    return timer.seconds() / handlers * 1e9;
}

double timer_among_1000() {
    constexpr int rounds = 500, timers = 1000;
    World world;
    for (int i = 0; i < timers; ++i)
        world.spawn(world.main_thread(), "sleeper", [i](Co& co) {
            for (int round = 0; round < rounds; ++round) co.sleep({1 + (i * 37 + round) % 1000});
        });
    const testing::CpuTimer timer;
    world.run_until_idle();
    return timer.seconds() / (rounds * timers) * 1e9;
}

double mutex_handover() {
    constexpr int rounds = 500'000;
    World world;
    Mutex mutex("bench");
    for (int fiber = 0; fiber < 2; ++fiber)
        world.spawn(world.main_thread(), "locker", [&](Co& co) {
            for (int i = 0; i < rounds / 2; ++i) {
                const MutexLock lock(co, mutex);
                co.yield("holding it");
            }
        });
    const testing::CpuTimer timer;
    world.run_until_idle();
    return timer.seconds() / rounds * 1e9;
}

double world_build_and_tear_down() {
    constexpr int worlds = 200'000;
    int ran = 0;
    const testing::CpuTimer timer;
    for (int i = 0; i < worlds; ++i) {
        World world({.seed = 1, .schedule = random_schedule(1)});
        world.run([&](Co&) { ++ran; });
    }
    INVARIANT(ran == worlds);
    return timer.seconds() / worlds * 1e9;
}

const testing::BenchRegistration registration("kernel", [](testing::BenchReport& report) {
    report.row("fiber switch pair", fiber_switch_pair(), "ns");
    report.row("fiber spawn and finish", fiber_spawn_and_finish(), "ns");
    report.row("posted handler", posted_handler(), "ns");
    report.row("timer among 1000", timer_among_1000(), "ns");
    report.row("mutex hand-over", mutex_handover(), "ns");
    report.row("world build and tear-down", world_build_and_tear_down(), "ns");
});

}  // namespace
}  // namespace sim
