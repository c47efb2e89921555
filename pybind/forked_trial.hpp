// SPDX-License-Identifier: Apache-2.0
// forked_trial: a trial in Python whose runs each have a process of their own.
//
// Python is told of each copy of its process, what it has to print is printed once, and of a copy
// that dies the Python lines it was at are known.
#pragma once
#include "sim/explore/trial.hpp"

namespace bindings {

// An interrupt while a run is under way ends it and is raised as in any other call.
sim::explore::Trial forked_trial(sim::explore::Trial trial);

}  // namespace bindings
