// SPDX-License-Identifier: Apache-2.0
// Future: a result that simulated time will bring, and Task: a Python coroutine driven by it.
//
// Python code runs on the executor's stack only, in events of its own. A fiber that ends leaves its
// result as a function that makes the Python object; the function is called where Python runs.
//
// invariant  a task waits for one future or is queued to run, never both
#pragma once
#include <pybind11/pybind11.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "sim/world.hpp"

namespace bindings {

namespace py = pybind11;

class Task;
class WorldHandle;

class Future : public std::enable_shared_from_this<Future> {
public:
    // Gives the value, or throws what awaiting the future shall raise.
    using Result = std::function<py::object()>;

    Future(WorldHandle& world, sim::Label label);
    virtual ~Future() = default;
    Future(const Future&) = delete;
    Future& operator=(const Future&) = delete;

    bool done() const { return state_ != State::pending; }
    sim::Label label() const { return label_; }

    // From fibers and handlers; who waits runs in an event of its own.
    void complete(Result result);
    // From Python only.
    void set_value(py::object value);
    void set_error(py::object error);
    // The value; throws the error. Must be done.
    py::object get();

    void add_waiter(const std::shared_ptr<Task>& task);
    void remove_waiter(const Task& task);
    // callback(future), in an event of its own once the future is done.
    void on_done(py::function callback);
    // Somebody takes care of its error.
    bool observed = false;

protected:
    void wake_waiters();
    // The world while it is open, or nullptr. A future may outlive it.
    std::shared_ptr<WorldHandle> world() const;

private:
    enum class State : std::uint8_t { pending, result, value, error };
    std::weak_ptr<WorldHandle> world_;
    sim::Label label_;
    State state_ = State::pending;
    Result result_;
    py::object value_;  // or the error
    std::vector<std::shared_ptr<Task>> waiters_;
    std::vector<py::function> callbacks_;
};

class Task final : public Future {
public:
    Task(WorldHandle& world, sim::Label label, std::uint64_t id, py::object coroutine)
        : Future(world, label), id_(id), coroutine_(std::move(coroutine)) {}

    void schedule();  // an event that resumes it
    void resume();    // runs the coroutine until it awaits something that is not done
    void cancel();    // raises Cancelled inside it, in an event of its own
    void drop();      // closes the coroutine; the world ends
    void abandon() { coroutine_.release(); }  // never goes on; for a copy of the process
    const Future* waiting_for() const { return waiting_for_.get(); }
    std::uint64_t id() const { return id_; }

private:
    void finish_with_error();

    std::uint64_t id_;
    py::object coroutine_;
    std::shared_ptr<Future> waiting_for_;
    bool queued_ = false;
    bool cancelled_ = false;
    bool running_ = false;
};

}  // namespace bindings
