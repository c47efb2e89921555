// SPDX-License-Identifier: Apache-2.0
// Holds:   a run that goes on from a checkpoint is the run that would have gone on without it,
//          event for event, whatever ran since; an arena gives out blocks that do not overlap, and
//          comes back as it was saved; what lies outside stays.
// Method:  a world with fibers parked in all ways, run on under many schedules from a checkpoint
//          and from the start; random blocks, filled and compared, the seed printed.
#include "sim/checkpoint.hpp"

#include <cstring>
#include <memory>
#include <string>

#include "sim/sync.hpp"
#include "sim/testing/catch.hpp"
#include "sim/world.hpp"

namespace sim {
namespace {

// Some fibers that wait for one another, for dates and for nobody; set up, then run to its end.
struct Busy {
    World world;
    Channel<std::string> mail{"mail"};
    Mutex lock{"lock"};
    Event go{"go"};
    std::string said;

    void set_up() {
        world.spawn_service(world.main_thread(), "reader", [this](Co& co) {
            while (auto letter = mail.receive(co)) said += *letter;
        });
        for (int number = 0; number < 4; ++number)
            world.spawn(world.main_thread(), "worker", [this, number](Co& co) {
                const std::string name(40, static_cast<char>('a' + number));
                go.wait(co);
                for (int turn = 0; turn < 10; ++turn) {
                    const MutexLock held(co, lock);
                    co.yield("work");
                    mail.send(name);
                    if (turn % 3 == 0) co.sleep(microseconds(co.world().rng("nap").below(5)));
                }
            });
        world.run([](Co& co) { co.sleep(microseconds(3)); });
    }

    std::uint64_t go_on(std::uint64_t seed) {
        world.begin(seed, random_schedule(seed), false);
        go.set();
        world.run_until_idle();
        world.trace().mix(hash_text(said));
        return world.trace().digest();
    }
};

std::uint64_t from_the_start(std::uint64_t seed) {
    Busy busy;
    busy.set_up();
    return busy.go_on(seed);
}

struct InArena {
    InArena() {
        const Arena::Use use(arena);
        busy = new Busy;
        busy->set_up();
    }
    ~InArena() {
        const Arena::Use use(arena);
        delete busy;
    }
    std::uint64_t go_on(std::uint64_t seed) {
        const Arena::Use use(arena);
        return busy->go_on(seed);
    }
    Arena arena;
    Busy* busy;
};

TEST_CASE("checkpoint: a run from it is the run from the start", "[checkpoint]") {
    if (!Arena::supported()) return;
    InArena one;
    Checkpoint checkpoint(one.arena, one.busy->world);
    for (std::uint64_t seed = 1; seed <= 50; ++seed) {
        INFO("seed " << seed);
        const std::uint64_t wanted = from_the_start(seed);
        CHECK(one.go_on(seed) == wanted);
        CHECK(one.busy->said.size() == 1600);
        checkpoint.rewind();
        CHECK(one.busy->said.empty());
        CHECK_FALSE(one.arena.held_by_statics());
    }
}

TEST_CASE("checkpoint: two of them do not disturb one another", "[checkpoint]") {
    if (!Arena::supported()) return;
    InArena one, other;
    Checkpoint first(one.arena, one.busy->world), second(other.arena, other.busy->world);
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        INFO("seed " << seed);
        const std::uint64_t left = one.go_on(seed), right = other.go_on(seed);
        CHECK(left == from_the_start(seed));
        CHECK(right == left);
        (seed % 2 == 0 ? first : second).rewind();
        (seed % 2 == 0 ? second : first).rewind();
    }
}

TEST_CASE("checkpoint: a run that failed leaves nothing behind", "[checkpoint]") {
    if (!Arena::supported()) return;
    InArena one;
    Checkpoint checkpoint(one.arena, one.busy->world);
    for (std::uint64_t seed = 1; seed <= 5; ++seed) {
        {
            const Arena::Use use(one.arena);
            one.busy->world.spawn(one.busy->world.main_thread(), "broken", [](Co& co) {
                co.yield("first");
                throw AssertionFailure("broken on purpose");
            });
            CHECK_THROWS_AS(one.busy->go_on(seed), AssertionFailure);
        }
        checkpoint.rewind();
        CHECK(one.go_on(seed) == from_the_start(seed));
        checkpoint.rewind();
    }
}

const void* volatile left_behind = nullptr;  // nobody reads it, but who looks for it

TEST_CASE("arena: static objects that refer into it are found", "[checkpoint]") {
    if (!Arena::supported()) return;
    Arena arena;
    const Arena::Use use(arena);
    const auto inside = std::make_unique<int>(1);
    CHECK(Arena::holds(inside.get()));
    CHECK_FALSE(arena.held_by_statics());
    left_behind = inside.get();
    CHECK(arena.held_by_statics());
    left_behind = nullptr;
    const Arena::Outside outside;
    CHECK_FALSE(Arena::holds(std::make_unique<int>(2).get()));
}

struct Block {
    std::unique_ptr<unsigned char[]> bytes;
    std::size_t size;
    unsigned char filler;
    bool intact() const {
        return std::all_of(bytes.get(), bytes.get() + size,
                           [&](unsigned char byte) { return byte == filler; });
    }
};

Block make_block(RandomStream& random) {
    constexpr std::uint64_t small = 300, large = 40'000;
    const std::size_t size = 1 + random.below(random.chance(1, 8) ? large : small);
    Block block{std::make_unique<unsigned char[]>(size), size,
                static_cast<unsigned char>(random.below(256))};
    std::memset(block.bytes.get(), block.filler, size);
    return block;
}

TEST_CASE("arena: random blocks do not overlap, and come back as they were saved",
          "[checkpoint]") {
    if (!Arena::supported()) return;
    constexpr std::uint64_t seed = 20;
    INFO("seed " << seed);
    RandomStream random(seed, "blocks");
    Arena arena;
    std::vector<Block> blocks;
    const auto all_intact = [&] {
        return std::all_of(blocks.begin(), blocks.end(), [](const Block& b) { return b.intact(); });
    };
    for (int step = 0; step < 2000; ++step) {
        if (!blocks.empty() && random.chance(2, 5)) {
            std::swap(blocks[random.below(blocks.size())], blocks.back());
            blocks.pop_back();
            continue;
        }
        std::optional<Block> made;
        {
            const Arena::Use use(arena);
            made = make_block(random);
        }
        CHECK(Arena::holds(made->bytes.get()));
        CHECK(reinterpret_cast<std::uintptr_t>(made->bytes.get()) % 16 == 0);
        blocks.push_back(std::move(*made));
    }
    CHECK(all_intact());
    arena.save();
    const std::size_t used = arena.used_bytes();
    for (int round = 0; round < 5; ++round) {
        {
            const Arena::Use use(arena);
            for (int i = 0; i < 100; ++i) make_block(random).bytes.release();  // never freed
        }
        for (Block& block : blocks) std::memset(block.bytes.get(), 0, block.size);
        arena.rewind();
        CHECK(arena.used_bytes() == used);
        CHECK(all_intact());
    }
}

}  // namespace
}  // namespace sim
