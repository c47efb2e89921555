// SPDX-License-Identifier: Apache-2.0
// Rules of blkdebug: what happens at an event, and which requests fail afterwards.
//
// The engine has a state, a small number that starts at 1. A rule applies to its event in its state
// (0: in any). All rules of an event look at the state from before it. Those that inject errors
// become the ones in force, in place of what was; without any the old ones stay in force.
#pragma once
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "blocklayer/requests/debug_event.hpp"
#include "blocklayer/errors.hpp"
#include "blocklayer/value.hpp"
#include "sim/time.hpp"

namespace blocklayer::blkdebug {

enum class IoType : std::uint8_t { read, write, write_zeroes, discard, flush, block_status };

struct Rule {
    enum class Action : std::uint8_t { inject_error, set_state, delay };
    Action action = Action::inject_error;
    DebugEvent event = DebugEvent::none;
    std::int64_t state = 0;  // 0: any
    std::int64_t new_state = 0;
    std::uint8_t io_types = 0;           // bits of IoType
    std::int64_t error = 0;              // an errno; 0: the request goes on
    std::optional<std::uint64_t> offset;  // only requests that touch this byte
    bool once = false, immediately = false;
    sim::Duration delay;
    bool in_force = false;
};

// `options` hold values of the right kinds, from blockdev-add or from a file.
Rule make_rule(Rule::Action action, const Value& options);

// What becomes of a request.
struct Verdict {
    Errno error{};
    bool fails = false;
    bool immediately = false;  // without giving others a turn
    sim::Duration delay;
};

class Rules {
public:
    // As in blockdev-add ("inject-error", "set-state", "x-delay"), validated.
    void add_options(const Value& options);
    // As in a file: sections [inject-error] and [set-state] with lines  name = "value".
    // errors: what is wrong with it
    Status add_config(std::string_view text);
    bool empty() const { return rules_.empty(); }
    // An event was fired: the time whoever fired it has to wait.
    sim::Duration fire(DebugEvent event);
    // A request comes by.
    Verdict judge(IoType type, std::uint64_t offset, std::uint64_t length);

private:
    Status add_section(std::string_view group, const Value& entries);
    void add(Rule rule);
    std::vector<Rule> rules_;
    std::int64_t state_ = 1;
};

}  // namespace blocklayer::blkdebug
