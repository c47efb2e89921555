// SPDX-License-Identifier: Apache-2.0
#include "pybind/world_handle.hpp"

#include <fmt/format.h>

#include <stdexcept>

namespace bindings {

namespace {

[[noreturn]] void raise_timeout(const std::string& text) {
    const py::object type = py::module_::import("blockstep.errors").attr("Timeout");
    PyErr_SetString(type.ptr(), text.c_str());
    throw py::error_already_set();
}

}  // namespace

WorldHandle::~WorldHandle() {
    inside_ = false;
    close();
}

sim::World& WorldHandle::sim() {
    if (!open_) throw std::runtime_error("the world is closed");
    return *world_;
}

void WorldHandle::close() {
    if (!open_) return;
    if (inside_) throw std::runtime_error("a world cannot be closed from inside");
    open_ = false;
    observers_.clear();
    const auto tasks = std::exchange(tasks_, {});
    for (const auto& [id, task] : tasks) task->drop();
    world_->close();
    while (!residents_.empty()) residents_.pop_back();
}

std::shared_ptr<Task> WorldHandle::start(py::object coroutine, const std::string& name) {
    sim();
    if (!PyCoro_CheckExact(coroutine.ptr()))
        throw py::type_error("not a coroutine: call an `async def` function");
    auto task = std::make_shared<Task>(*this, sim::Label::interned(name), ++next_task_,
                                       std::move(coroutine));
    tasks_.emplace(task->id(), task);
    task->schedule();
    return task;
}

bool WorldHandle::turn() {
    if (++turns_ % 1024 == 0 && PyErr_CheckSignals() != 0) throw py::error_already_set();
    inside_ = true;
    struct Leave {
        ~Leave() { inside = false; }
        bool& inside;
    } const leave{inside_};
    const bool more = world_->step();
    for (const auto& observer : observers_) observer();
    return more;
}

py::object WorldHandle::run_until_done(const std::shared_ptr<Future>& future,
                                       std::int64_t limit_ns) {
    sim();
    if (inside_) throw std::runtime_error("the world is running: await instead");
    future->observed = true;
    while (!future->done()) {
        if (!turn())
            throw sim::Deadlock(
                fmt::format("deadlock at {} ns: nothing can run and no date is due\n{}",
                            world_->now().ns, waiting_report()));
        if (limit_ns >= 0 && world_->now().ns > limit_ns && !future->done())
            raise_timeout(fmt::format("'{}' not done after {} simulated ns\n{}",
                                      future->label().name(), limit_ns, waiting_report()));
    }
    world_->left();
    return future->get();
}

bool WorldHandle::step() {
    sim();
    if (inside_) throw std::runtime_error("the world is running: await instead");
    const bool more = turn();
    world_->left();
    return more;
}

void WorldHandle::run_until_idle() {
    sim();
    if (inside_) throw std::runtime_error("the world is running: await instead");
    while (turn()) {
    }
    world_->left();
}

void WorldHandle::run_for(sim::Duration duration) {
    sim();
    if (inside_) throw std::runtime_error("the world is running: await instead");
    inside_ = true;
    struct Leave {
        ~Leave() { inside = false; }
        bool& inside;
    } const leave{inside_};
    world_->advance(duration);
}

void WorldHandle::become_copy() {
    observers_.clear();
    for (const auto& [id, task] : tasks_) task->abandon();
    world_->go_on_as_copy();
}

std::string WorldHandle::waiting_report() {
    std::string text = world_->waiting_report();
    for (const auto& [id, task] : tasks_)
        if (const Future* future = task->waiting_for())
            text += fmt::format("task {} '{}' awaits '{}'\n", id, task->label().name(),
                                future->label().name());
    return text;
}

}  // namespace bindings
