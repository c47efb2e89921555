// SPDX-License-Identifier: Apache-2.0
// stop, cont, system_reset, query-status: the machine's run state.
//
// source  QAPI misc.json, run-state.json, machine.json.
#include "blocklayer/monitor/command.hpp"
#include "hwmodels/machine.hpp"

namespace hwmodels {
namespace {

using namespace blocklayer;

Result<Value> stop(sim::Co& co, BlockLayer& layer, const Value&) {
    Machine::of(layer).stop(co);
    return Value();
}

Result<Value> cont(sim::Co&, BlockLayer& layer, const Value&) {
    Machine::of(layer).resume();
    return Value();
}

Result<Value> system_reset(sim::Co& co, BlockLayer& layer, const Value&) {
    Machine::of(layer).reset(co);
    return Value();
}

Result<Value> query_status(sim::Co&, BlockLayer& layer, const Value&) {
    const Machine& machine = Machine::of(layer);
    return Value::dict({{"running", machine.running()},
                        {"singlestep", false},
                        {"status", run_state_name(machine.state())}});
}

const TypeRegistration run_state_type({
    .name = "RunState",
    .meta = TypeSpec::Meta::enumeration,
    .values = {"debug", "inmigrate", "internal-error", "io-error", "paused", "postmigrate",
               "prelaunch", "finish-migrate", "restore-vm", "running", "save-vm", "shutdown",
               "suspended", "watchdog", "guest-panicked", "colo"},
});
const TypeRegistration status_type({
    .name = "StatusInfo",
    .members = {required("running", "bool"), required("singlestep", "bool"),
                required("status", "RunState")},
});
const CommandRegistration registrations[] = {
    CommandRegistration({.name = "stop", .run = stop, .source = "QAPI misc.json stop"}),
    CommandRegistration({.name = "cont", .run = cont, .source = "QAPI misc.json cont"}),
    CommandRegistration(
        {.name = "system_reset", .run = system_reset, .source = "QAPI machine.json system_reset"}),
    CommandRegistration({.name = "query-status",
                         .returns = "StatusInfo",
                         .run = query_status,
                         .source = "QAPI run-state.json query-status"}),
};

}  // namespace
}  // namespace hwmodels
