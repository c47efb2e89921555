// SPDX-License-Identifier: Apache-2.0
// The events that exist, for query-qmp-schema. They register as commands do.
#pragma once
#include <vector>

#include "blocklayer/monitor/command.hpp"

namespace blocklayer {

std::vector<const EventSpec*> all_events();  // sorted by name

}  // namespace blocklayer
