// SPDX-License-Identifier: Apache-2.0
// LockBits: which lock bytes of an image file an open description holds, or wants.
//
// source  byte numbers, order of the tests and texts as observed on the real program
#pragma once
#include <cstdint>

#include "blocklayer/errors.hpp"
#include "blocklayer/permissions/permissions.hpp"
#include "sim/host_store.hpp"

namespace blocklayer {

struct LockBits {
    PermSet used;      // bytes 100 + n
    PermSet unshared;  // bytes 200 + n

    static LockBits of(Claim claim) {
        return {.used = claim.used, .unshared = PermSet::all().without(claim.shared)};
    }

    bool contains(const LockBits& other) const {
        return used.contains(other.used) && unshared.contains(other.unshared);
    }

    // Locks what is wanted and not yet held here. errors: Failed to lock byte <n>
    Status lock(sim::HostFile& file, const LockBits& wanted);
    // Unlocks everything else.
    void keep_only(sim::HostFile& file, const LockBits& wanted);
    // Does another description deny one of these? errors: Failed to get "<permission>" lock;
    // Failed to get shared "<permission>" lock
    Status test(sim::HostFile& file) const;
    // The same, while `mine`, which is about to be closed, still holds `its` locks.
    Status test_ignoring(sim::HostFile& file, const LockBits& its, sim::HostFile& mine) const;
};

}  // namespace blocklayer
