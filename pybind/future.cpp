// SPDX-License-Identifier: Apache-2.0
#include "pybind/future.hpp"

#include <algorithm>

#include "pybind/world_handle.hpp"
#include "sim/check.hpp"

namespace bindings {

Future::Future(WorldHandle& world, sim::Label label)
    : world_(world.weak_from_this()), label_(label) {}

std::shared_ptr<WorldHandle> Future::world() const {
    auto world = world_.lock();
    return world != nullptr && world->open() ? world : nullptr;
}

void Future::complete(Result result) {
    if (done()) return;  // cancelled, or its world ends
    state_ = State::result;
    result_ = std::move(result);
    wake_waiters();
}

void Future::set_value(py::object value) {
    if (done()) throw std::runtime_error("the future already has a result");
    state_ = State::value;
    value_ = std::move(value);
    wake_waiters();
}

void Future::set_error(py::object error) {
    if (done()) throw std::runtime_error("the future already has a result");
    if (!PyExceptionInstance_Check(error.ptr())) throw py::type_error("not an exception instance");
    state_ = State::error;
    value_ = std::move(error);
    wake_waiters();
}

py::object Future::get() {
    INVARIANT(done());
    if (state_ == State::result) {
        const Result result = std::exchange(result_, nullptr);
        try {
            value_ = result();
            state_ = State::value;
        } catch (py::error_already_set& error) {
            error.restore();
            PyObject *type = nullptr, *value = nullptr, *traceback = nullptr;
            PyErr_Fetch(&type, &value, &traceback);
            PyErr_NormalizeException(&type, &value, &traceback);
            Py_XDECREF(type);
            Py_XDECREF(traceback);
            value_ = py::reinterpret_steal<py::object>(value);
            state_ = State::error;
        }
    }
    if (state_ == State::error) {
        PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(value_.ptr())), value_.ptr());
        throw py::error_already_set();
    }
    return value_;
}

void Future::add_waiter(const std::shared_ptr<Task>& task) {
    observed = true;
    waiters_.push_back(task);
}

void Future::remove_waiter(const Task& task) {
    std::erase_if(waiters_, [&](const auto& waiter) { return waiter.get() == &task; });
}

void Future::on_done(py::function callback) {
    observed = true;
    callbacks_.push_back(std::move(callback));
    if (done()) wake_waiters();
}

void Future::wake_waiters() {
    for (const std::shared_ptr<Task>& task : waiters_) task->schedule();
    waiters_.clear();
    const auto handle = callbacks_.empty() ? nullptr : world();
    if (handle == nullptr) return;
    sim::World& world = handle->sim();
    for (py::function& callback : callbacks_)
        world.post(world.main_thread(), "python callback",
                   [self = shared_from_this(), callback = std::move(callback)] { callback(self); });
    callbacks_.clear();
}

void Task::schedule() {
    const auto handle = queued_ ? nullptr : world();
    if (handle == nullptr) return;
    queued_ = true;
    waiting_for_.reset();
    sim::World& world = handle->sim();
    world.post(world.main_thread(), label(),
               [self = std::static_pointer_cast<Task>(shared_from_this())] { self->resume(); });
}

void Task::resume() {
    queued_ = false;
    if (done() || !coroutine_) return;
    while (true) {
        PyObject* out = nullptr;
        PySendResult sent = PYGEN_ERROR;
        running_ = true;
        if (cancelled_) {
            cancelled_ = false;
            const py::object cancelled =
                py::module_::import("blockstep.errors").attr("Cancelled")();
            out = PyObject_CallMethod(coroutine_.ptr(), "throw", "O", cancelled.ptr());
            if (out != nullptr) {
                sent = PYGEN_NEXT;
            } else if (PyErr_ExceptionMatches(PyExc_StopIteration)) {
                PyErr_Clear();
                out = py::none().release().ptr();
                sent = PYGEN_RETURN;
            }
        } else {
            sent = PyIter_Send(coroutine_.ptr(), Py_None, &out);
        }
        running_ = false;

        const auto result = py::reinterpret_steal<py::object>(out);
        if (sent == PYGEN_RETURN) {
            coroutine_ = {};
            if (const auto handle = world()) handle->forget(*this);
            set_value(result);
            return;
        }
        if (sent == PYGEN_ERROR) return finish_with_error();
        if (!py::isinstance<Future>(result)) {
            PyErr_SetString(PyExc_TypeError,
                            "a scenario awaits futures and tasks of its world, nothing else");
            return finish_with_error();
        }
        auto future = result.cast<std::shared_ptr<Future>>();
        if (future->done() || cancelled_) continue;
        waiting_for_ = future;
        future->add_waiter(std::static_pointer_cast<Task>(shared_from_this()));
        return;
    }
}

void Task::finish_with_error() {
    py::error_already_set error;  // takes what Python has raised, traceback and all
    coroutine_ = {};
    if (const auto handle = world()) handle->forget(*this);
    const bool cared_for = observed;
    const bool cancelled =
        error.matches(py::module_::import("blockstep.errors").attr("Cancelled"));
    set_error(py::reinterpret_borrow<py::object>(error.value()));
    if (PyException_SetTraceback(error.value().ptr(),
                                 error.trace() ? error.trace().ptr() : Py_None) != 0)
        throw py::error_already_set();
    if (!cared_for && !cancelled) throw error;  // ends the run
}

void Task::cancel() {
    if (done() || cancelled_) return;
    cancelled_ = true;
    if (waiting_for_ != nullptr) waiting_for_->remove_waiter(*this);
    if (!running_) schedule();  // a running one finds out where it awaits next
}

void Task::drop() {
    if (!coroutine_ || running_) return;
    const py::object coroutine = std::exchange(coroutine_, {});
    waiting_for_.reset();
    PyObject* closed = PyObject_CallMethod(coroutine.ptr(), "close", nullptr);
    if (closed == nullptr) PyErr_WriteUnraisable(coroutine.ptr());
    Py_XDECREF(closed);
}

}  // namespace bindings
