// SPDX-License-Identifier: Apache-2.0
// Python view of worlds, futures and tasks.
#include <fmt/format.h>
#include <pybind11/stl.h>

#include "pybind/section.hpp"
#include "pybind/schedule_handle.hpp"
#include "pybind/world_handle.hpp"
#include "sim/choice_record.hpp"
#include "sim/resources.hpp"

namespace bindings {
namespace {

using WorldPtr = std::shared_ptr<WorldHandle>;

// `await future`: hands itself to the task that drives the coroutine while it is not done.
PySendResult send(PyObject* self, PyObject*, PyObject** result) {
    auto& future = py::handle(self).cast<Future&>();
    if (!future.done()) {
        Py_INCREF(self);
        *result = self;
        return PYGEN_NEXT;
    }
    try {
        *result = future.get().release().ptr();
        return PYGEN_RETURN;
    } catch (py::error_already_set& error) {
        error.restore();
    } catch (const std::exception& error) {
        PyErr_SetString(PyExc_RuntimeError, error.what());
    }
    *result = nullptr;
    return PYGEN_ERROR;
}

// The same for who asks as an iterator (a debugger's trace function is set).
PyObject* next(PyObject* self) {
    PyObject* result = nullptr;
    const PySendResult sent = send(self, Py_None, &result);
    if (sent != PYGEN_RETURN) return result;
    PyObject* stop = PyObject_CallOneArg(PyExc_StopIteration, result);
    Py_DECREF(result);
    if (stop != nullptr) PyErr_SetObject(PyExc_StopIteration, stop);
    Py_XDECREF(stop);
    return nullptr;
}

PyObject* same(PyObject* self) {
    Py_INCREF(self);
    return self;
}

void make_awaitable(PyHeapTypeObject* type) {
    type->as_async.am_await = same;
    type->as_async.am_send = send;
    type->ht_type.tp_iter = same;
    type->ht_type.tp_iternext = next;
}

std::unique_ptr<sim::Schedule> schedule_named(const py::object& schedule, std::uint64_t seed) {
    if (py::isinstance<py::str>(schedule)) {
        const auto name = schedule.cast<std::string>();
        if (name == "fifo") return sim::fifo_schedule();
        if (name == "random") return sim::random_schedule(seed);
        throw py::value_error("no schedule '" + name + "' (known: fifo, random)");
    }
    auto& handle = schedule.cast<ScheduleHandle&>();
    if (handle.schedule == nullptr) throw py::value_error("the schedule belongs to another world");
    return std::move(handle.schedule);
}

sim::ClockMode clock_named(const std::string& name) {
    if (name == "simulated") return sim::ClockMode::simulated;
    if (name == "paced") return sim::ClockMode::paced;
    if (name == "manual") return sim::ClockMode::manual;
    throw py::value_error("no clock '" + name + "' (known: simulated, paced, manual)");
}

std::unique_ptr<sim::Platform> platform_named(const std::string& name) {
    if (name == "instant") return nullptr;
    if (name == "workstation") return sim::Resources::from_spec(sim::workstation_spec());
    return sim::Resources::from_xml(name);
}

sim::Duration duration_ns(std::int64_t ns) {
    if (ns < 0) throw py::value_error("a duration cannot be negative");
    return {ns};
}

template <class E>
bool raise_as(const char* name, std::exception_ptr thrown) {
    try {
        std::rethrow_exception(thrown);
    } catch (const E& error) {
        const py::object type = py::module_::import("blockstep.errors").attr(name);
        PyErr_SetString(type.ptr(), error.what());
        return true;
    } catch (...) {
        return false;
    }
}

void translate(std::exception_ptr thrown) {
    if (raise_as<sim::Deadlock>("Deadlock", thrown)) return;
    if (raise_as<sim::EventLimit>("EventLimit", thrown)) return;
    if (raise_as<sim::AssertionFailure>("AssertionFailure", thrown)) return;
    if (raise_as<sim::PlatformError>("PlatformError", thrown)) return;
    std::rethrow_exception(thrown);
}

void define_futures(py::module_& module) {
    py::class_<Future, std::shared_ptr<Future>>(
        module, "Future", py::custom_type_setup(make_awaitable),
        "A result that simulated time will bring. Await it; it may be awaited by many.")
        .def_property_readonly("done", &Future::done, "Whether it has a result or an error.")
        .def_property_readonly(
            "label", [](const Future& future) { return future.label().name(); },
            "What it stands for, as deadlock reports name it.")
        .def(
            "result",
            [](Future& future) {
                if (!future.done()) throw std::runtime_error("the future is not done");
                return future.get();
            },
            "The result of a future that is done, without awaiting it; raises its error.")
        .def("set_value", &Future::set_value, "value"_a = py::none(),
             "Completes it. Raises RuntimeError if it is done already.")
        .def("set_error", &Future::set_error, "error"_a,
             "Completes it with an exception, raised where it is awaited.")
        .def("on_done", &Future::on_done, "callback"_a,
             "Calls callback(future) in an event of its own once it is done; its error counts as "
             "taken care of.")
        .def("__repr__", [](const Future& future) {
            return fmt::format("<Future '{}'{}>", future.label().name(),
                               future.done() ? ", done" : "");
        });

    py::class_<Task, Future, std::shared_ptr<Task>>(
        module, "Task", py::custom_type_setup(make_awaitable),
        "A running coroutine. Its error fails the run unless somebody awaits the task.")
        .def("cancel", &Task::cancel, "Raises Cancelled inside it where it waits.");
}

void define_random(py::module_& module) {
    py::class_<sim::RandomStream>(
        module, "RandomStream",
        "A named stream of random numbers of a world; streams do not shift each other.")
        .def("next", &sim::RandomStream::next, "64 random bits.")
        .def(
            "below",
            [](sim::RandomStream& stream, std::uint64_t bound) {
                if (bound == 0) throw py::value_error("the bound must be above 0");
                return stream.below(bound);
            },
            "bound"_a, "Uniform in [0, bound).")
        .def(
            "between",
            [](sim::RandomStream& stream, std::int64_t low, std::int64_t high) {
                if (low > high) throw py::value_error("low is above high");
                return stream.between(low, high);
            },
            "low"_a, "high"_a, "Uniform in [low, high], both included.")
        .def(
            "chance",
            [](sim::RandomStream& stream, std::uint64_t numerator, std::uint64_t denominator) {
                if (denominator == 0) throw py::value_error("the denominator must be above 0");
                return stream.chance(numerator, denominator);
            },
            "numerator"_a, "denominator"_a, "True with probability numerator / denominator.");
}

py::str record_of(WorldHandle& handle, const std::map<std::string, std::string>& headers) {
    for (const auto& [key, value] : headers)
        if (key.empty() || (key + value).find('\n') != std::string::npos ||
            key.find('=') != std::string::npos)
            throw py::value_error("a header is a line of key=value");
    return sim::to_text({headers, handle.ended_or_not().choices()});
}

std::unique_ptr<ScheduleHandle> replay_of(const std::string& record, std::uint64_t seed) {
    auto parsed = sim::parse_choice_record(record);
    if (!parsed) throw py::value_error("the record cannot be read: " + parsed.error());
    auto handle = std::make_unique<ScheduleHandle>();
    handle->diverged = std::make_shared<std::string>();
    handle->schedule =
        sim::replay_schedule(std::move(parsed->choices), seed, handle->diverged.get());
    return handle;
}

py::dict headers_of(const std::string& record) {
    auto parsed = sim::parse_choice_record(record);
    if (!parsed) throw py::value_error("the record cannot be read: " + parsed.error());
    return py::cast(parsed->headers);
}

void define_schedules(py::module_& module) {
    py::class_<ScheduleHandle>(module, "Schedule", "An order of events, for one world.")
        .def_property_readonly(
            "diverged",
            [](const ScheduleHandle& handle) {
                return handle.diverged == nullptr ? std::string() : *handle.diverged;
            },
            "Where a replay could no longer follow its record, and why; '' while it can.");
    module.def("replay_schedule", replay_of, "record"_a, "seed"_a = 0,
               "A schedule that repeats a record (text, see World.record). Where the world no "
               "longer fits it goes on as the random one of this seed. Raises ValueError.");
    module.def("record_headers", headers_of, "record"_a,
               "The key=value lines of a record. Raises ValueError.");
}

py::list faults_of(WorldHandle& handle) {
    py::list faults;
    for (const sim::InjectedFault& fault : handle.ended_or_not().faults())
        faults.append(py::make_tuple(fault.at.ns, fault.position, fault.step, fault.site.name(),
                                     fault.answer));
    return faults;
}

void define_choices(py::class_<WorldHandle, WorldPtr>& world) {
    world
        .def("record", record_of, "headers"_a = py::dict(),
             "Every free choice so far as a small text that replays the run; the headers are its "
             "key=value lines.")
        .def_property_readonly(
            "choices", [](WorldHandle& w) { return w.ended_or_not().choices().size(); },
            "How many free choices there were.")
        .def(
            "choose",
            [](WorldHandle& w, std::uint32_t n, const std::string& label) {
                if (n == 0) throw py::value_error("nothing to choose from");
                return w.sim().choose(n, sim::Label::interned(label));
            },
            "n"_a, "label"_a, "A free choice of the scenario: a number below n, recorded.")
        .def(
            "fault",
            [](WorldHandle& w, const std::string& site, std::uint32_t n) {
                if (n < 2) throw py::value_error("a fault site has at least 2 answers");
                return w.sim().fault(n, sim::Label::interned(site));
            },
            "site"_a, "n"_a = 2,
            "What goes wrong at this site now: 0 for nothing, or one of n - 1 faults.")
        .def(
            "limit_faults", [](WorldHandle& w, std::uint32_t n) { w.sim().limit_faults(n); },
            "n"_a, "At most n faults from here on.")
        .def_property_readonly(
            "faults_injected", faults_of,
            "(nanoseconds, trace events before, step, site, answer) of every fault so far.")
        .def(
            "feature",
            [](WorldHandle& w, const std::string& name) {
                return w.sim().feature(sim::Label::interned(name));
            },
            "name"_a, "Whether this run has the feature: yes, unless a swarm leaves it out.")
        .def(
            "keep",
            [](WorldHandle& w, const std::string& operation) {
                return w.sim().keep(sim::Label::interned(operation));
            },
            "operation"_a,
            "Whether to do this operation of a list: yes, unless a shorter list is looked for.")
        .def(
            "touch",
            [](WorldHandle& w, const std::string& name, bool write) {
                w.sim().touch(name, write ? sim::Access::write : sim::Access::read);
            },
            "name"_a, "write"_a = true,
            "The running step reads or changes what has this name; see docs/exploring.md.");
}

py::list trace_of(WorldHandle& handle) {
    py::list lines;
    const sim::Trace& trace = handle.ended_or_not().trace();
    for (const sim::TraceEvent& event : trace.recording() ? trace.events() : trace.last(64))
        lines.append(trace.to_line(event));
    return lines;
}

const Section section("world", {}, [](py::module_& module) {
    py::register_exception_translator(translate);
    define_futures(module);
    define_random(module);
    define_schedules(module);

    py::class_<WorldHandle, WorldPtr> world(
        module, "World", "A simulated world: its clock, its order of events, what runs in it.");
    define_choices(world);
    world
        .def(py::init([](std::uint64_t seed, const py::object& schedule, const std::string& clock,
                         double pace, const std::string& platform, bool record_trace,
                         std::uint64_t event_limit) {
                 if (clock == "paced" && !(pace > 0))
                     throw py::value_error("the pace must be above 0");
                 return std::make_shared<WorldHandle>(sim::WorldOptions{
                     .seed = seed,
                     .schedule = schedule_named(schedule, seed),
                     .platform = platform_named(platform),
                     .clock = clock_named(clock),
                     .pace = pace,
                     .record_trace = record_trace,
                     .record_choices = true,
                     .event_limit = event_limit,
                 });
             }),
             py::keep_alive<1, 3>(), py::kw_only(), "seed"_a = 0, "schedule"_a = "fifo",
             "clock"_a = "simulated",
             "pace"_a = 1.0, "platform"_a = "instant", "record_trace"_a = false,
             "event_limit"_a = 0)
        .def_property_readonly(
            "now_ns", [](WorldHandle& w) { return w.ended_or_not().now().ns; },
            "Simulated nanoseconds since the world began.")
        .def_property_readonly(
            "seed", [](WorldHandle& w) { return w.ended_or_not().seed(); },
            "What the random streams and the random schedule come from.")
        .def_property_readonly(
            "digest",
            [](WorldHandle& w) {
                return fmt::format("{:016x}", w.ended_or_not().trace().digest());
            },
            "16 hex digits over every event so far. Equal digests mean equal runs.")
        .def_property_readonly(
            "events_run", [](WorldHandle& w) { return w.ended_or_not().events_run(); },
            "Events since the world began.")
        .def_property_readonly(
            "events_traced", [](WorldHandle& w) { return w.ended_or_not().trace().count(); },
            "Trace events since the world began: a position in the trace.")
        .def_property_readonly(
            "trace", trace_of,
            "Trace lines, oldest first: all with record_trace, otherwise the last 64.")
        .def(
            "steps_from",
            [](WorldHandle& w, std::size_t first) {
                py::list steps;
                const auto& all = w.ended_or_not().trace().steps();
                for (std::size_t i = first; i < all.size(); ++i)
                    steps.append(py::make_tuple(i + 1, all[i].at.ns, all[i].runnable,
                                                all[i].label.name()));
                return steps;
            },
            "first"_a,
            "With record_trace: the events that ran, from the first-th on, as (number, "
            "nanoseconds, who, label).")
        .def_property_readonly("closed", [](WorldHandle& w) { return !w.open(); },
                               "Whether the world has been closed.")
        .def("close", &WorldHandle::close,
             "Ends all tasks and everything in the world. What belongs to it raises RuntimeError "
             "afterwards; time, digest, choices and trace stay readable.")
        .def(
            "sleep",
            [](WorldHandle& w, std::int64_t ns) {
                return w.spawn("sleep", [duration = duration_ns(ns)](sim::Co& co) {
                    co.sleep(duration);
                    return [] { return py::none(); };
                });
            },
            "ns"_a, "A future that is done after this many simulated nanoseconds.")
        .def(
            "turns",
            [](WorldHandle& w, std::uint64_t count, const std::string& label) {
                return w.spawn(sim::Label::interned(label),
                               [count, why = sim::Label::interned(label)](sim::Co& co) {
                                   co.yield(why, count);
                                   return [] { return py::none(); };
                               });
            },
            "count"_a, "label"_a = "turns",
            "A future that is done after so many turns among whatever else is ready; unlike\n"
            "sleep(0), which comes when nothing else is.")
        .def(
            "future",
            [](WorldHandle& w, const std::string& label) {
                w.sim();
                return std::make_shared<Future>(w, sim::Label::interned(label));
            },
            "label"_a = "future", "A future that Python completes with set_value or set_error.")
        .def("start", &WorldHandle::start, "coroutine"_a, py::kw_only(), "name"_a = "task",
             "Starts a coroutine as a task of its own, in an event of its own.")
        .def(
            "run_until_done",
            [](WorldHandle& w, const std::shared_ptr<Future>& future,
               std::optional<std::int64_t> limit_ns) {
                return w.run_until_done(future, limit_ns.value_or(-1));
            },
            "future"_a, py::kw_only(), "limit_ns"_a = py::none(),
            "Runs the world until the future is done and gives its result. Not from inside.\n\n"
            "Raises Deadlock, Timeout when the clock passes limit_ns, EventLimit, "
            "AssertionFailure, and what a task raises that nobody awaits.")
        .def("step", &WorldHandle::step,
             "Runs one event. False: nothing is left to run. Not from inside.")
        .def("run_until_idle", &WorldHandle::run_until_idle,
             "Runs the world until nothing is left to run. Not from inside.")
        .def(
            "run_for", [](WorldHandle& w, std::int64_t ns) { w.run_for(duration_ns(ns)); },
            "ns"_a, "Runs what is due in this many simulated nanoseconds. Not from inside.")
        .def("waiting_report", &WorldHandle::waiting_report, "Who waits for whom, a line each.")
        .def(
            "rng",
            [](WorldHandle& w, const std::string& name) -> sim::RandomStream& {
                return w.sim().rng(name);
            },
            "name"_a, py::return_value_policy::reference_internal,
            "The random stream with this name.")
        .def(
            "emit",
            [](WorldHandle& w, const std::string& label, std::uint64_t a, std::uint64_t b) {
                w.sim().emit(sim::Label::interned(label), {}, a, b);
            },
            "label"_a, "a"_a = 0, "b"_a = 0, "Puts an event into the trace and the digest.");
});

}  // namespace
}  // namespace bindings
