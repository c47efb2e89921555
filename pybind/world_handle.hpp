// SPDX-License-Identifier: Apache-2.0
// WorldHandle: a simulated world as Python holds it, with its tasks and what lives in it.
//
// invariant  what lives in the world is dropped after its fibers were unwound, newest first
#pragma once
#include <pybind11/pybind11.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "pybind/future.hpp"
#include "sim/world.hpp"

namespace bindings {

class WorldHandle : public std::enable_shared_from_this<WorldHandle> {
public:
    explicit WorldHandle(sim::WorldOptions options)
        : world_(std::make_unique<sim::World>(std::move(options))) {}
    WorldHandle(const WorldHandle&) = delete;
    WorldHandle& operator=(const WorldHandle&) = delete;
    ~WorldHandle();

    bool open() const { return open_; }
    // The world; raises when it is closed.
    sim::World& sim();
    // For what stays readable after the end: time, digest, choices.
    sim::World& ended_or_not() { return *world_; }
    // Ends every task and fiber, then drops what lives in the world.
    void close();

    std::shared_ptr<Task> start(py::object coroutine, const std::string& name);
    void forget(const Task& task) { tasks_.erase(task.id()); }
    // Runs events until the future is done and gives its value. errors: Deadlock; what a task that
    // nobody awaits raises; AssertionFailure; EventLimit; KeyboardInterrupt.
    // Timeout when the clock passes limit_ns (-1: no limit).
    py::object run_until_done(const std::shared_ptr<Future>& future, std::int64_t limit_ns);
    // Runs one event; false: none is left.
    bool step();
    // Runs events until none is left, or for this long.
    void run_until_idle();
    void run_for(sim::Duration duration);
    std::string waiting_report();
    // This process is a copy that only finds something out: no task goes on in it.
    void become_copy();

    // A future that a new fiber completes: body(co) gives the Future::Result.
    template <class Body>
    std::shared_ptr<Future> spawn(sim::Label label, Body body) {
        return spawn_on(sim().main_thread(), label, std::move(body));
    }
    template <class Body>
    std::shared_ptr<Future> spawn_on(sim::Thread& thread, sim::Label label, Body body) {
        auto future = std::make_shared<Future>(*this, label);
        sim().spawn(thread, label, [future, body = std::move(body)](sim::Co& co) mutable {
            future->complete(body(co));
        });
        return future;
    }

    // Called on the executor's stack after every turn, for as long as the world is open.
    void after_turn(std::function<void()> observer) { observers_.push_back(std::move(observer)); }

    // Numbers its virtual machines.
    std::size_t next_machine() { return machines_++; }

    // Keeps it until the world has closed.
    template <class T>
    T& keep(std::unique_ptr<T> resident) {
        T& object = *resident;
        residents_.push_back(std::shared_ptr<T>(std::move(resident)));
        return object;
    }

private:
    bool turn();  // one event, and now and then a look at Python's signals

    std::unique_ptr<sim::World> world_;
    std::vector<std::shared_ptr<void>> residents_;
    std::vector<std::function<void()>> observers_;
    std::map<std::uint64_t, std::shared_ptr<Task>> tasks_;  // unfinished, oldest first
    std::uint64_t next_task_ = 0;
    std::size_t machines_ = 0;
    std::uint64_t turns_ = 0;
    bool open_ = true;
    bool inside_ = false;  // an event is running
};

}  // namespace bindings
