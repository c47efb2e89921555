// SPDX-License-Identifier: Apache-2.0
// ScheduleHandle: a schedule on its way into a world, as Python holds it.
#pragma once
#include <memory>
#include <string>

#include "sim/schedule.hpp"

namespace bindings {

struct ScheduleHandle {
    std::unique_ptr<sim::Schedule> schedule;  // nullptr: a world has it
    std::shared_ptr<std::string> diverged;    // replays only; lives as long as the handle

    ~ScheduleHandle() = default;
};

}  // namespace bindings
