// SPDX-License-Identifier: Apache-2.0
// iothreads: simulated threads that a user makes by name and devices run their requests in.
#pragma once
#include <cstdint>
#include <list>
#include <string>
#include <string_view>

#include "blocklayer/errors.hpp"
#include "sim/world.hpp"

namespace blocklayer {

class BlockLayer;

struct IoThread {
    std::string id;
    sim::Thread* thread;
    // Polling has no meaning here; the numbers are kept and shown. units: ns
    std::int64_t poll_max_ns = 32768;
    std::int64_t poll_grow = 0, poll_shrink = 0;
    std::int64_t aio_max_batch = 0;
    std::int64_t thread_pool_min = 0, thread_pool_max = 64;
};

std::list<IoThread>& iothreads(BlockLayer& layer);                // oldest first
IoThread* find_iothread(BlockLayer& layer, std::string_view id);  // nullptr: none

}  // namespace blocklayer
