// SPDX-License-Identifier: Apache-2.0
// break, remove_break, resume, wait_break: requests stop at events, where a blkdebug is on the way.
#include <fmt/format.h>

#include "blocklayer/requests/debug_event.hpp"
#include "blocklayer/layer.hpp"
#include "blocklayer/monitor/console.hpp"
#include "blocklayer/monitor/qemu_io/qemu_io.hpp"

namespace blocklayer::qemu_io {
namespace {

// Of the first node down the primary children that has them; nullptr: none does.
Breakpoints* breakpoints(const Call& call) {
    for (const Node* node = call.backend.node(); node != nullptr;) {
        if (Breakpoints* points = node->driver().breakpoints()) return points;
        const Edge* primary = node->primary_child();
        node = primary != nullptr ? &primary->child() : nullptr;
    }
    return nullptr;
}

void refuse(const Call& call, std::string_view what, bool supported) {
    call.say(fmt::format("{}: {}", what, sim::errno_text(supported ? Errno::no_entry
                                                                   : Errno::not_supported)));
}

Status set_break(sim::Co&, Call& call) {
    Breakpoints* points = breakpoints(call);
    // A request may stop long after this command: at the layer's console, which is there as long.
    const auto say = [&layer = call.backend.layer()](std::string_view text) {
        print(layer, std::string(text) + "\n");
    };
    if (points == nullptr || !points->set(call.words[1], call.words[2], say))
        refuse(call, "Could not set breakpoint", points != nullptr);
    return {};
}

Status remove_break(sim::Co&, Call& call) {
    Breakpoints* points = breakpoints(call);
    if (points == nullptr || !points->remove(call.words[1]))
        refuse(call, fmt::format("Could not remove breakpoint {}", call.words[1]),
               points != nullptr);
    return {};
}

Status resume(sim::Co&, Call& call) {
    Breakpoints* points = breakpoints(call);
    if (points == nullptr || !points->resume(call.words[1]))
        refuse(call, "Could not resume request", points != nullptr);
    return {};
}

Status wait_break(sim::Co& co, Call& call) {
    for (;;) {  // the graph may change meanwhile
        const Breakpoints* points = breakpoints(call);
        if (points == nullptr || points->is_suspended(call.words[1])) return {};
        co.sleep(sim::microseconds(100));
    }
}

constexpr Command commands[] = {
    {"break", "", set_break, 2, 2, {}, "event tag",
     "sets a breakpoint on event and tags the stopped request as tag"},
    {"remove_break", "", remove_break, 1, 1, {}, "tag", "remove a breakpoint by tag"},
    {"resume", "", resume, 1, 1, {}, "tag", "resumes the request tagged as tag"},
    {"wait_break", "", wait_break, 1, 1, {}, "tag", "waits for the suspension of a request"},
};
const CommandList list(commands);

}  // namespace
}  // namespace blocklayer::qemu_io
