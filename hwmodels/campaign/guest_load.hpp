// SPDX-License-Identifier: Apache-2.0
// A process in a workload's guest that works on one of its disks; see hwmodels/guest/load.hpp.
#pragma once
#include <string>

#include "hwmodels/campaign/rig.hpp"
#include "hwmodels/guest/load.hpp"

namespace hwmodels::campaign {

using guest::LoadOptions;

// A failed request stops the run, unless errors are allowed; the load ends when power fails.
void start_load(Rig& rig, const std::string& id, unsigned process, LoadOptions options);

}  // namespace hwmodels::campaign
