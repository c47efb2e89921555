// SPDX-License-Identifier: Apache-2.0
// Session: one QMP client, apart from any file descriptor. Text goes in in any pieces, lines come
// out.
//
// A layer has one dispatcher: its sessions' commands run one after the other, each in a fiber on
// the main loop, in the order in which they arrived. Events go out at once, between the lines.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>

#include "blocklayer/layer.hpp"
#include "sim/sync.hpp"

namespace blocklayer {

struct SessionOptions {
    // Instant 0 of the world as clients see it. units: ns since 1970
    std::int64_t epoch_ns = 0;
};

class Session {
public:
    using Output = std::function<void(std::string_view line)>;  // ends with "\r\n"

    // Says the greeting at once.
    Session(BlockLayer& layer, Output output, SessionOptions options = {});
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;
    ~Session();  // replies and events go nowhere from here on; the running command ends

    void feed(std::string_view text);
    void end_of_input();
    // Commands that were read and not yet replied to.
    std::size_t pending() const;

private:
    struct State;
    std::shared_ptr<State> state_;
};

// The lock under which a layer's commands run, one at a time; for callers without a session.
std::shared_ptr<sim::Mutex> command_dispatcher(BlockLayer& layer);
// QAPI QapiErrorClass: "GenericError" ...
std::string_view error_class_name(ErrorClass error_class);

// Set by the command quit: whoever owns the layer ends it once its sessions have replied.
void request_quit(BlockLayer& layer);
bool quit_requested(const BlockLayer& layer);

}  // namespace blocklayer
