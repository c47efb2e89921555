// SPDX-License-Identifier: Apache-2.0
#include "blocklayer/monitor/command.hpp"

namespace blocklayer {
namespace {

const TypeRegistration info({.name = "CommandInfo", .members = {required("name", "str")}});

Result<Value> query_commands(sim::Co&, BlockLayer&, const Value&) {
    Value names = Value::list();
    for (const CommandSpec* command : all_commands())
        names.push(Value::dict({{"name", Value(command->name)}}));
    return names;
}

const CommandRegistration registration({.name = "query-commands",
                                        .returns = "[CommandInfo]",
                                        .run = query_commands,
                                        .source = "QAPI control.json"});

}  // namespace
}  // namespace blocklayer
