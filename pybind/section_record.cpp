// SPDX-License-Identifier: Apache-2.0
// Python view of a recorded world: its trace in columns, and what each virtual machine did.
#include <pybind11/stl.h>

#include "blocklayer/monitor/session.hpp"
#include "pybind/section.hpp"
#include "pybind/value_cast.hpp"
#include "pybind/vm_handle.hpp"

namespace bindings {
namespace {

// Names in order of first use, each with its number.
class Names {
public:
    std::size_t number(std::string_view text) {
        const auto [place, fresh] = numbers_.emplace(text, list_.size());
        if (fresh) list_.append(std::string(text));
        return place->second;
    }
    const py::list& list() const { return list_; }

private:
    std::map<std::string, std::size_t, std::less<>> numbers_;
    py::list list_;
};

py::dict trace_of(WorldHandle& handle) {
    sim::World& world = handle.ended_or_not();
    const sim::Trace& trace = world.trace();
    Names names;
    names.number("");
    py::list at_ns, label, fiber, subject, a, b, steps, threads;
    for (const sim::TraceEvent& event : trace.events()) {
        at_ns.append(event.at.ns);
        label.append(names.number(event.label.name()));
        fiber.append(event.fiber);
        subject.append(names.number(trace.name(event.subject)));
        a.append(event.a);
        b.append(event.b);
    }
    for (const sim::TraceStep& step : trace.steps())
        steps.append(py::make_tuple(step.at.ns, step.position, step.runnable,
                                    names.number(step.label.name()), step.thread));
    for (const auto& thread : world.threads()) threads.append(thread->name());
    py::dict columns;
    columns["names"] = names.list();
    columns["at_ns"] = at_ns;
    columns["label"] = label;
    columns["fiber"] = fiber;
    columns["subject"] = subject;
    columns["a"] = a;
    columns["b"] = b;
    columns["steps"] = steps;
    columns["threads"] = threads;
    return columns;
}

py::dict party_to_python(const blocklayer::Party& party) {
    py::dict dict;
    dict["description"] = party.description;
    dict["edge"] = party.edge;
    return dict;
}

py::object refusal_to_python(const blocklayer::Error& error) {
    if (error.refusal == nullptr) return py::none();
    py::dict dict;
    dict["node"] = error.refusal->node;
    dict["permissions"] = py::list(permission_names(error.refusal->permissions));
    dict["requires"] = party_to_python(error.refusal->requires_them);
    dict["unshares"] = party_to_python(error.refusal->unshares_them);
    return dict;
}

py::dict command_to_python(const VmRecord::Command& command) {
    py::dict dict;
    dict["at_ns"] = command.begin.at.ns;
    dict["position"] = command.begin.position;
    dict["name"] = command.name;
    dict["arguments"] = to_python(command.arguments);
    if (!command.result) return dict;
    dict["ended_ns"] = command.end.at.ns;
    dict["ended_position"] = command.end.position;
    if (*command.result) {
        dict["reply"] = to_python(**command.result);
        return dict;
    }
    const blocklayer::Error& error = command.result->error();
    py::dict text;
    text["class"] = std::string(blocklayer::error_class_name(error.error_class));
    text["desc"] = error.text;
    dict["error"] = text;
    dict["refusal"] = refusal_to_python(error);
    return dict;
}

py::dict record_of(VmHandle& handle) {
    const VmRecord* record = handle.vm().record.get();
    if (record == nullptr) throw std::runtime_error("the world is not recorded: record_trace");
    py::list commands, events, graphs;
    for (const auto& command : record->commands()) commands.append(command_to_python(command));
    for (const auto& event : record->events()) {
        py::dict dict;
        dict["at_ns"] = event.moment.at.ns;
        dict["position"] = event.moment.position;
        dict["name"] = event.name;
        dict["data"] = to_python(event.data);
        events.append(dict);
    }
    for (const auto& graph : record->graphs()) {
        py::dict dict;
        dict["at_ns"] = graph.moment.at.ns;
        dict["position"] = graph.moment.position;
        dict["graph"] = graph.graph;
        dict["cause"] = graph.cause;
        graphs.append(dict);
    }
    py::dict all;
    all["commands"] = commands;
    all["events"] = events;
    all["graphs"] = graphs;
    return all;
}

const Section section("record", {"vm"}, [](py::module_& module) {
    module.def("trace_of", trace_of, "world"_a,
               "A recorded trace as columns: names, at_ns, label, fiber, subject, a, b (label and "
               "subject are indices into names), threads, and steps: (at_ns, position, runnable, "
               "label, thread) of each turn.");
    module.def("record_of", record_of, "vm"_a,
               "What a report tells of a machine: commands, events and graphs, each with at_ns "
               "and the position in the trace. Raises RuntimeError unless record_trace is set.");
});

}  // namespace
}  // namespace bindings
