// SPDX-License-Identifier: Apache-2.0
// qmp_capabilities: known here for the schema; a session answers it itself, because it is about
// that session.
#include "blocklayer/monitor/command.hpp"

namespace blocklayer {
namespace {

const TypeRegistration capability({.name = "QMPCapability",
                                   .meta = TypeSpec::Meta::enumeration,
                                   .values = {"oob"}});

Result<Value> not_in_a_session(sim::Co&, BlockLayer&, const Value&) {
    return failure("Capabilities are negotiated by a session");
}

const CommandRegistration registration({.name = "qmp_capabilities",
                                        .args = {optional("enable", "[QMPCapability]")},
                                        .run = not_in_a_session,
                                        .source = "QAPI control.json"});

}  // namespace
}  // namespace blocklayer
