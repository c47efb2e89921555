// SPDX-License-Identifier: Apache-2.0
// Which status may follow which, and which verb is good in which.
#include <array>
#include <cstddef>

#include "blocklayer/jobs/job.hpp"

namespace blocklayer {
namespace {

constexpr std::array<std::string_view, 11> status_names = {
    "undefined", "created", "running", "paused",    "ready", "standby",
    "waiting",   "pending", "aborting", "concluded", "null"};
constexpr std::array<std::string_view, 5> type_names = {"commit", "stream", "mirror", "backup",
                                                        "create"};
constexpr std::array<std::string_view, 7> verb_names = {
    "cancel", "pause", "resume", "set-speed", "complete", "finalize", "dismiss"};

class StatusSet {
public:
    template <class... S>
    constexpr explicit StatusSet(S... status) : bits_((0u | ... | bit(status))) {}
    constexpr bool has(JobStatus status) const { return (bits_ & bit(status)) != 0; }

private:
    static constexpr unsigned bit(JobStatus status) { return 1u << static_cast<unsigned>(status); }
    unsigned bits_;
};

using enum JobStatus;
constexpr StatusSet alive(created, running, paused, ready, standby);

StatusSet next_of(JobStatus from) {
    switch (from) {
    case undefined: return StatusSet(created);
    case created: return StatusSet(running, aborting, null);
    case running: return StatusSet(paused, ready, waiting, aborting);
    case paused: return StatusSet(running);
    case ready: return StatusSet(standby, waiting, aborting);
    case standby: return StatusSet(ready);
    case waiting: return StatusSet(pending, aborting);
    case pending: return StatusSet(aborting, concluded);
    case aborting: return StatusSet(aborting, concluded);
    case concluded: return StatusSet(null);
    case null: break;
    }
    return StatusSet();
}

StatusSet where(JobVerb verb) {
    switch (verb) {
    case JobVerb::cancel:
        return StatusSet(created, running, paused, ready, standby, waiting, pending);
    case JobVerb::pause:
    case JobVerb::resume:
    case JobVerb::set_speed: return alive;
    case JobVerb::complete: return StatusSet(ready, standby);
    case JobVerb::finalize: return StatusSet(pending);
    case JobVerb::dismiss: return StatusSet(concluded);
    }
    return StatusSet();
}

}  // namespace

std::string_view wire_name(JobType type) { return type_names[static_cast<std::size_t>(type)]; }
std::string_view wire_name(JobStatus status) {
    return status_names[static_cast<std::size_t>(status)];
}
std::string_view wire_name(JobVerb verb) { return verb_names[static_cast<std::size_t>(verb)]; }

bool legal_next(JobStatus from, JobStatus to) { return next_of(from).has(to); }
bool accepts(JobStatus status, JobVerb verb) { return where(verb).has(status); }

}  // namespace blocklayer
