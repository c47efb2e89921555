// SPDX-License-Identifier: Apache-2.0
// forked: a trial whose runs each have a process of their own.
//
// For worlds of which a process can have only one (SimGrid keeps one engine), and for runs that may
// take their process with them: a child that dies is a run that failed. The child has a copy of
// everything that was there before the run, so it costs a copy of page tables and no start-up.
//
// A schedule does more than answer: it may write down what it was asked. So the child tells what
// its copy of the schedule was asked, through shared memory, and the one here is asked the same. A
// schedule is a function of what it is asked; what it writes down is what it would have written.
//
// invariant  the schedule here gives the answers that its copy gave; else the run is no run
#pragma once
#include <functional>
#include <string>

#include "sim/explore/trial.hpp"

namespace sim::explore {

struct ForkHooks {
    std::function<void()> before = [] {}, in_parent = [] {}, in_child = [] {};
    // A signal came while the child ran. May throw: then the child is ended first.
    std::function<void()> interrupted = [] {};
    // Of a child that died: what is known about where. Empty: nothing.
    std::function<std::string()> last_words = [] { return std::string(); };
};

// errors: std::runtime_error: no more processes or memory.
Trial forked(Trial trial, ForkHooks hooks = {});

}  // namespace sim::explore
