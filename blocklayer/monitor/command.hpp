// SPDX-License-Identifier: Apache-2.0
// A QMP command: its name, arguments, result type and what it does. One file each in commands/ (or
// in the room that owns what it is about); it registers itself.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "blocklayer/errors.hpp"
#include "blocklayer/options/schema.hpp"
#include "blocklayer/value.hpp"
#include "sim/co.hpp"

namespace blocklayer {

class BlockLayer;

// Commands run one at a time, each in a fiber on the main loop; they may wait (drained sections,
// opening images), and every other event may run meanwhile.
using CommandFn = Result<Value> (*)(sim::Co& co, BlockLayer& layer, const Value& arguments);

struct CommandSpec {
    std::string name;              // "blockdev-add"
    std::vector<MemberSpec> args;  // used when args_type is empty
    std::string args_type;         // arguments are this type's members, e.g. BlockdevOptions
    std::string returns;           // type name; empty: {} (nothing)
    CommandFn run = nullptr;
    bool any_arguments = false;  // gen=false: arguments are not checked here (device_add)
    std::string source;          // schema file and command
    std::vector<std::string> features = {};  // "unstable": shown to clients
};

class CommandRegistration {
public:
    explicit CommandRegistration(CommandSpec spec);
};

const CommandSpec* find_command(std::string_view name);
std::vector<const CommandSpec*> all_commands();  // sorted by name

// An event's name and data members, for query-qmp-schema.
struct EventSpec {
    std::string name;
    std::vector<MemberSpec> data;
};

class EventRegistration {
public:
    explicit EventRegistration(EventSpec spec);
};

// Checks the arguments and runs the command; after it, nodes nobody refers to are closed.
// errors: command_not_found "The command X has not been found"; the schema's; the command's own.
Result<Value> execute(sim::Co& co, BlockLayer& layer, std::string_view name,
                      const Value& arguments);

}  // namespace blocklayer
