// SPDX-License-Identifier: Apache-2.0
// Explanations: what would come of a command, found out by giving it in a copy of this process.
//
// The copy (fork) has its own world and its own files in memory; it runs the command, writes down
// what it saw and ends. This process waits for it and is not touched: no event, no digest, no byte.
// invariant  the copy never returns from explain(): it ends in _exit
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "blocklayer/graph/graph.hpp"
#include "blocklayer/monitor/command.hpp"
#include "blocklayer/monitor/session.hpp"
#include "pybind/section.hpp"
#include "pybind/value_cast.hpp"
#include "pybind/vm_handle.hpp"
#include "sim/memory_store.hpp"
#include "sim/sync.hpp"

namespace bindings {
namespace {

using blocklayer::Party;
using blocklayer::Refusal;
using blocklayer::Value;

constexpr std::uint64_t events_max = 1'000'000;  // a command that takes more does not end

py::dict party_to_python(const Party& party) {
    py::dict dict;
    dict["description"] = party.description;
    dict["edge"] = party.edge;
    return dict;
}

py::dict refusal_to_python(const Refusal& refusal) {
    py::dict dict;
    dict["node"] = refusal.node;
    dict["permissions"] = permission_names(refusal.permissions);
    dict["graph_mod"] = refusal.graph_mod;
    dict["requires"] = party_to_python(refusal.requires_them);
    dict["unshares"] = party_to_python(refusal.unshares_them);
    return dict;
}

// What the copy finds out, as JSON text.
std::string try_command(VmHandle& handle, const std::string& command, const Value& arguments) {
    py::list conflicts;
    py::object asked_for = py::none();
    blocklayer::BlockLayer& layer = handle.layer();
    layer.graph().on_refusal = [&](const std::vector<Refusal>& clashes) {
        conflicts = py::list();
        for (const Refusal& clash : clashes) conflicts.append(refusal_to_python(clash));
        asked_for = graph_to_python(layer);
    };

    sim::World& world = handle.world->sim();
    bool done = false;
    blocklayer::Result<Value> result = Value();
    world.spawn(world.main_thread(), "explain", [&](sim::Co& co) {
        const auto dispatcher = blocklayer::command_dispatcher(layer);
        const sim::MutexLock lock(co, *dispatcher);
        result = blocklayer::execute(co, layer, command, arguments);
        done = true;
    });
    const std::uint64_t last = world.events_run() + events_max;
    while (!done && world.events_run() < last && world.step()) {
    }

    py::dict answer;
    answer["accepted"] = done && result.has_value();
    answer["error"] = !done                ? py::object(py::str("the command does not end"))
                      : result.has_value() ? py::object(py::none())
                                           : py::object(py::str(result.error().text));
    if (done && !result.has_value()) {
        // Refused before the graph was touched, or by what permissions do not say.
        if (py::len(conflicts) == 0 && result.error().refusal != nullptr)
            conflicts.append(refusal_to_python(*result.error().refusal));
    } else {
        conflicts = py::list();
        asked_for = py::none();
    }
    answer["conflicts"] = conflicts;
    answer["graph"] = asked_for.is_none() ? py::object(graph_to_python(layer)) : asked_for;
    return py::module_::import("json").attr("dumps")(answer).cast<std::string>();
}

void write_all(int fd, std::string_view text) {
    while (!text.empty()) {
        const ssize_t n = ::write(fd, text.data(), text.size());
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return;  // nobody reads any more
        text.remove_prefix(static_cast<std::size_t>(n));
    }
}

[[noreturn]] void run_copy(VmHandle& handle, const std::string& command, const Value& arguments,
                           int out) {
    try {
        handle.world->become_copy();
        write_all(out, try_command(handle, command, arguments));
    } catch (const std::exception& error) {
        write_all(out, py::module_::import("json")
                           .attr("dumps")(std::string(error.what()))
                           .cast<std::string>());
    }
    ::_exit(0);
}

std::string read_all(int fd) {
    std::string text;
    char buffer[65536];
    while (true) {
        const ssize_t n = ::read(fd, buffer, sizeof(buffer));
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return text;
        text.append(buffer, static_cast<std::size_t>(n));
    }
}

py::object explain(VmHandle& handle, const std::string& command, const py::object& arguments) {
    if (!arguments.is_none() && !PyDict_Check(arguments.ptr()))
        throw py::type_error("arguments are a dictionary");
    if (dynamic_cast<sim::MemoryStore*>(&handle.layer().store()) == nullptr)
        throw py::value_error("explain needs images in memory: on real files a trial is no trial");
    const Value given = from_python(arguments, "arguments");
    int ends[2];
    if (::pipe(ends) != 0) throw std::runtime_error("explain: no pipe");
    const pid_t copy = ::fork();
    if (copy < 0) {
        ::close(ends[0]);
        ::close(ends[1]);
        throw std::runtime_error("explain: the process cannot be copied");
    }
    if (copy == 0) {
        ::close(ends[0]);
        run_copy(handle, command, given, ends[1]);
    }
    ::close(ends[1]);
    const std::string text = read_all(ends[0]);
    ::close(ends[0]);
    int status = 0;
    while (::waitpid(copy, &status, 0) < 0 && errno == EINTR) {
    }
    if (text.empty()) throw std::runtime_error("explain: the trial died");
    py::object answer = py::module_::import("json").attr("loads")(text);
    if (py::isinstance<py::str>(answer)) throw std::runtime_error(answer.cast<std::string>());
    return answer;
}

const Section section("explain", {"vm"}, [](py::module_& module) {
    module.def("explain", explain, "vm"_a, "command"_a, "arguments"_a = py::none(),
               "What would come of a QMP command, without giving it: accepted, error, conflicts "
               "(who needs what, who stands in the way), graph (as it would be).");
});

}  // namespace
}  // namespace bindings
