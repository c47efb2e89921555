// SPDX-License-Identifier: Apache-2.0
// quit: the event goes out before the reply; the owner of the layer ends it after the reply.
#include "blocklayer/layer.hpp"
#include "blocklayer/monitor/command.hpp"
#include "blocklayer/monitor/session.hpp"

namespace blocklayer {
namespace {

const TypeRegistration cause({.name = "ShutdownCause",
                              .meta = TypeSpec::Meta::enumeration,
                              .values = {"none", "host-error", "host-qmp-quit",
                                         "host-qmp-system-reset", "host-signal", "host-ui",
                                         "guest-shutdown", "guest-reset", "guest-panic",
                                         "subsystem-reset", "snapshot-load"}});
const EventRegistration shutdown(
    {"SHUTDOWN", {required("guest", "bool"), required("reason", "ShutdownCause")}});

Result<Value> quit(sim::Co&, BlockLayer& layer, const Value&) {
    if (!quit_requested(layer))
        layer.emit_event("SHUTDOWN", Value::dict({{"guest", false}, {"reason", "host-qmp-quit"}}));
    request_quit(layer);
    return Value();
}

const CommandRegistration registration({.name = "quit",
                                        .run = quit,
                                        .source = "QAPI control.json"});

}  // namespace
}  // namespace blocklayer
