// SPDX-License-Identifier: Apache-2.0
#include "blocklayer/monitor/command.hpp"

#include <fmt/format.h>

#include <map>

#include "blocklayer/jobs/job.hpp"
#include "blocklayer/layer.hpp"
#include "blocklayer/monitor/event.hpp"
#include "sim/check.hpp"

namespace blocklayer {
namespace {

template <class Spec>
std::map<std::string, Spec, std::less<>>& registry() {
    static std::map<std::string, Spec, std::less<>> specs;
    return specs;
}

template <class Spec>
void add(Spec spec) {
    std::string name = spec.name;
    const bool is_new = registry<Spec>().emplace(std::move(name), std::move(spec)).second;
    EXPECTS(is_new);
}

template <class Spec>
std::vector<const Spec*> all() {
    std::vector<const Spec*> specs;
    for (const auto& [name, spec] : registry<Spec>()) specs.push_back(&spec);
    return specs;
}

Status check_arguments(const CommandSpec& spec, const Value& arguments) {
    if (spec.any_arguments) return {};
    if (!spec.args_type.empty()) return check_value(arguments, spec.args_type);
    return check_members(arguments, spec.args);
}

}  // namespace

CommandRegistration::CommandRegistration(CommandSpec spec) {
    EXPECTS(spec.run != nullptr);
    add(std::move(spec));
}

EventRegistration::EventRegistration(EventSpec spec) { add(std::move(spec)); }

const CommandSpec* find_command(std::string_view name) {
    const auto found = registry<CommandSpec>().find(name);
    return found == registry<CommandSpec>().end() ? nullptr : &found->second;
}

std::vector<const CommandSpec*> all_commands() { return all<CommandSpec>(); }
std::vector<const EventSpec*> all_events() { return all<EventSpec>(); }

Result<Value> execute(sim::Co& co, BlockLayer& layer, std::string_view name,
                      const Value& arguments) {
    const CommandSpec* spec = find_command(name);
    if (spec == nullptr)
        return Unexpected(Error{.error_class = ErrorClass::command_not_found,
                                .text = fmt::format("The command {} has not been found", name)});
    static const Value none = Value::dict();
    const Value& given = arguments.is_null() ? none : arguments;
    TRY(check_arguments(*spec, given));
    Result<Value> result = spec->run(co, layer, given);
    layer.reap(co);
    // A job that the command set in motion does its next step before the client hears anything.
    if (layer.jobs().turn_due()) co.yield("jobs' turn");
    return result;
}

}  // namespace blocklayer
