// SPDX-License-Identifier: Apache-2.0
// Checkpoint: a world at one moment, to go on from any number of times.
//
// A run that goes on from a checkpoint is the run that would have gone on without it, event for
// event. It costs a copy of what the world had then, whatever the run did since, and no destructor
// runs: what a run holds outside of the arena (files, mappings) would stay behind.
//
//     Arena arena;
//     ... set a world up under Arena::Use ...
//     Checkpoint checkpoint(arena, world);
//     while (...) { Arena::Use use(arena); run the world; checkpoint.rewind(); }
//
// invariant  the world lies in the arena, with everything that it and what it runs refer to
#pragma once
#include <cstddef>
#include <vector>

#include "sim/arena.hpp"

namespace sim {

class World;

class Checkpoint {
public:
    // Between two events of the world.
    Checkpoint(Arena& arena, World& world);
    // The world may have been closed since; it must not be running.
    void rewind();
    // Instead of the world's destructor: nothing of it is used any more, its arena may go.
    void drop_world();

private:
    struct Stack {  // of a fiber that was waiting: from where it goes on to the end of its block
        void* fiber;
        std::byte* from;
        std::vector<std::byte> bytes;
    };
    Arena& arena_;
    World& world_;
    std::vector<Stack> stacks_;
};

}  // namespace sim
