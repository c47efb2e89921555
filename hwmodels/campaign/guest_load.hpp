// SPDX-License-Identifier: Apache-2.0
// A process in the guest that works on a disk: random small requests, one after the other.
#pragma once
#include <cstdint>
#include <string>

#include "hwmodels/campaign/rig.hpp"

namespace hwmodels::campaign {

struct LoadOptions {
    unsigned operations = 8;
    std::uint64_t area = 64 * 1024;  // bytes, spread over so many pieces of the disk:
    unsigned pieces = 1;             // each begins at a multiple of stride
    std::uint64_t stride = 0;
    std::uint64_t longest = 4 * 1024;  // bytes of one request
    // Chances out of 16; what is left are writes.
    unsigned reads = 3, zeroes = 2, discards = 1, flushes = 1;
    std::uint64_t think = 0;      // before each request: fewer events than this may happen
    bool errors_allowed = false;  // false: a failed request stops the run
    // Goes on after its operations until this is true, one request a millisecond.
    const bool* until = nullptr;
};

// Its requests come from the world's stream "load <id> <process>".
void start_load(Rig& rig, const std::string& id, unsigned process, LoadOptions options);

}  // namespace hwmodels::campaign
