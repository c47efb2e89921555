// SPDX-License-Identifier: Apache-2.0
// A filter that keeps an earlier state of what it filters, and can be asked for it.
#pragma once
#include <cstdint>

#include "blocklayer/graph/edge.hpp"

namespace blocklayer {

class SnapshotSource {
public:
    virtual ~SnapshotSource() = default;
    // errors: access where the state is not kept (any more)
    virtual IoStatus snapshot_read(sim::Co& co, std::uint64_t offset, sim::IoView into) = 0;
    virtual IoResult<BlockStatus> snapshot_status(sim::Co& co, std::uint64_t offset,
                                                  std::uint64_t length) = 0;
    // Nobody will ask for this part any more.
    virtual IoStatus snapshot_discard(sim::Co& co, std::uint64_t offset, std::uint64_t length) = 0;
};

}  // namespace blocklayer
