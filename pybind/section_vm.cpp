// SPDX-License-Identifier: Apache-2.0
// Python view of a virtual machine's block layer: QMP, events, the graph.
#include <fmt/format.h>

#include "blocklayer/graph/graph.hpp"
#include "blocklayer/monitor/command.hpp"
#include "blocklayer/monitor/session.hpp"
#include "pybind/section.hpp"
#include "pybind/value_cast.hpp"
#include "pybind/vm_handle.hpp"
#include "sim/sync.hpp"

namespace bindings {
namespace {

using blocklayer::Result;
using blocklayer::Value;

blocklayer::LayerOptions options_of(const std::string& compat, std::uint32_t job_slots,
                                    std::uint64_t job_chunk_bytes, std::uint64_t l2_cache_bytes,
                                    std::uint64_t refcount_cache_bytes, bool memory_may_fail) {
    blocklayer::LayerOptions options;
    if (compat == "2.9")
        options.compat = blocklayer::Compat::v2_9;
    else if (compat != "7.2")
        throw py::value_error("compat is one of 2.9, 7.2");
    if (job_slots == 0 || job_chunk_bytes < 512 || (job_chunk_bytes & (job_chunk_bytes - 1)) != 0)
        throw py::value_error("job_slots must be above 0, job_chunk_bytes a power of two from 512");
    options.limits = {.qcow2_l2_cache_bytes = l2_cache_bytes,
                      .qcow2_refcount_cache_bytes = refcount_cache_bytes,
                      .job_slots = job_slots,
                      .job_chunk_bytes = job_chunk_bytes,
                      .memory_may_fail = memory_may_fail};
    return options;
}

std::unique_ptr<VmHandle> make_vm(std::shared_ptr<WorldHandle> world, const StoreHandle& store,
                                  const std::string& compat, std::uint32_t job_slots,
                                  std::uint64_t job_chunk_bytes, std::uint64_t l2_cache_bytes,
                                  std::uint64_t refcount_cache_bytes, bool memory_may_fail) {
    if (store.world != world) throw py::value_error("the store belongs to another world");
    Vm& vm = world->keep(std::make_unique<Vm>(
        world->sim(), store.get(),
        options_of(compat, job_slots, job_chunk_bytes, l2_cache_bytes, refcount_cache_bytes,
                   memory_may_fail),
        world->next_machine()));
    vm.layer.add_event_sink([&vm](const std::shared_ptr<const blocklayer::QmpEvent>& event) {
        vm.events.push_back(*event);
        if (vm.record != nullptr) vm.record->event(*event);
        if (const auto waiting = std::exchange(vm.event_arrived, nullptr))
            waiting->complete([] { return py::none(); });
    });
    if (vm.record != nullptr) world->after_turn([&vm] { vm.record->after_turn(); });
    return std::make_unique<VmHandle>(VmHandle{std::move(world), &vm});
}

std::shared_ptr<Future> qmp(VmHandle& handle, const std::string& command,
                            const py::object& arguments) {
    if (!arguments.is_none() && !PyDict_Check(arguments.ptr()))
        throw py::type_error("arguments are a dictionary");
    if (handle.vm().guest.dead()) throw std::runtime_error("the machine has lost power");
    struct Call {
        std::string command;
        Value arguments;
        Result<Value> result = Value();
    };
    auto call = std::make_shared<Call>(Call{command, from_python(arguments, "arguments")});
    return handle.world->spawn(
        sim::Label::interned(command), [vm = &handle.vm(), call](sim::Co& co) {
            {
                const auto dispatcher = blocklayer::command_dispatcher(vm->layer);
                const sim::MutexLock lock(co, *dispatcher);
                std::size_t number = 0;
                if (vm->record != nullptr)
                    number = vm->record->begin(call->command, call->arguments);
                call->result =
                    blocklayer::execute(co, vm->layer, call->command, call->arguments);
                if (vm->record != nullptr) vm->record->end(number, call->result);
            }
            return [call]() -> py::object {
                if (!call->result) raise_qmp_error(call->result.error());
                return call->result->is_null() ? py::object(py::dict())
                                               : to_python(*call->result);
            };
        });
}

py::list events_from(VmHandle& handle, std::size_t first) {
    const auto& events = handle.vm().events;
    py::list list;
    for (std::size_t i = first; i < events.size(); ++i) {
        const auto& [name, data, at] = events[i];
        list.append(py::make_tuple(name.name(), to_python(data), at.ns));
    }
    return list;
}

std::shared_ptr<Future> event_arrived(VmHandle& handle) {
    Vm& vm = handle.vm();
    if (vm.event_arrived == nullptr)
        vm.event_arrived = std::make_shared<Future>(*handle.world, sim::Label("QMP event"));
    return vm.event_arrived;
}

std::shared_ptr<Future> shut_down(VmHandle& handle) {
    return handle.world->spawn("shut down", [vm = &handle.vm()](sim::Co& co) {
        vm->backends.clear();
        vm->layer.shut_down(co);
        return [] { return py::none(); };
    });
}

const Section section("vm", {"store"}, [](py::module_& module) {
    py::class_<VmHandle>(module, "VM", "A virtual machine: its block layer and its devices.")
        .def(py::init(&make_vm), "world"_a, "store"_a, py::kw_only(), "compat"_a = "7.2",
             "job_slots"_a = 16, "job_chunk_bytes"_a = 1U << 20, "l2_cache_bytes"_a = 0,
             "refcount_cache_bytes"_a = 0, "memory_may_fail"_a = false)
        .def("qmp", qmp, "command"_a, "arguments"_a = py::none(),
             "Runs a QMP command; the future gives what its reply returns.\n\n"
             "Raises QmpError with the reference's class and text, PermissionRefused when a "
             "permission stands in the way.")
        .def("events_from", events_from, "first"_a = 0,
             "Events from the first-th on, as (name, data, nanoseconds).")
        .def("event_arrived", event_arrived, "A future that is done when the next event comes.")
        .def("graph", [](VmHandle& handle) { return graph_to_python(handle.layer()); },
             "Nodes in order of creation and the edges between their users and them.")
        .def("dump", [](VmHandle& handle) { return handle.layer().graph().dump(); },
             "The graph as text, an edge a line with what it uses and shares.")
        .def("check_graph", [](VmHandle& handle) { return handle.layer().graph().check_whole(); },
             "The first difference between stored and recomputed permissions, or ''.")
        .def("shut_down", shut_down, "Ends jobs and closes all nodes.");
});

}  // namespace
}  // namespace bindings
