// SPDX-License-Identifier: Apache-2.0
#include "sim/checkpoint.hpp"

#include <algorithm>
#include <cstring>

#include "sim/check.hpp"
#include "sim/world.hpp"

namespace sim {

Checkpoint::Checkpoint(Arena& arena, World& world) : arena_(arena), world_(world) {
    const Arena::Outside outside;
    EXPECTS(!world.closing_ && !world.turning_ && Arena::holds(&world));
    for (Fiber* fiber = world.alive_; fiber != nullptr; fiber = fiber->next_alive_) {
        auto* from = static_cast<std::byte*>(fiber->context_);
        stacks_.push_back({fiber, from, {from, FiberBlock::end_of(fiber)}});
    }
    arena_.save();
}

void Checkpoint::rewind() {
    drop_world();
    for (const Stack& stack : stacks_) {
        FiberBlock::take_again(stack.fiber);
        std::memcpy(stack.from, stack.bytes.data(), stack.bytes.size());
    }
    arena_.rewind();
}

void Checkpoint::drop_world() {
    EXPECTS(!world_.turning_);
    for (Fiber* fiber = world_.alive_; fiber != nullptr; fiber = fiber->next_alive_)
        FiberBlock::give_back(fiber);
}

}  // namespace sim
