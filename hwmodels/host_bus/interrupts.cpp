// SPDX-License-Identifier: Apache-2.0
#include "hwmodels/host_bus/interrupts.hpp"

#include <algorithm>

namespace hwmodels {

Interrupts::Vector::Vector(Interrupts& owner, std::uint32_t number)
    : event(owner.world_, owner.cpu_, "interrupt", [&owner, number] { owner.run_vector(number); }) {
}

Interrupts::Line::Line(Interrupts& owner, std::uint32_t number)
    : event(owner.world_, owner.cpu_, "level interrupt",
            [&owner, number] { owner.run_line(number); }) {}

Interrupts::Interrupts(sim::World& world, sim::Thread& cpu) : world_(world), cpu_(cpu) {
    for (std::uint32_t number = 0; number < lines_max; ++number)
        lines_.push_back(std::make_unique<Line>(*this, number));
}

MsiMessage Interrupts::allocate_vector(std::function<void()> handler, sim::Place place) {
    std::uint32_t number = 0;
    while (number < vectors_.size() && vectors_[number]->used) ++number;
    if (number == vectors_.size()) vectors_.push_back(std::make_unique<Vector>(*this, number));
    Vector& vector = *vectors_[number];
    vector.used = true;
    vector.pending = false;
    vector.handler = std::move(handler);
    vector.event.place = place;
    return {msi_base, number};
}

void Interrupts::free_vector(const MsiMessage& message) {
    EXPECTS(message.address == msi_base && message.data < vectors_.size());
    Vector& vector = *vectors_[message.data];
    vector.used = vector.pending = false;
    vector.event.cancel();
    vector.handler = nullptr;
}

std::uint64_t Interrupts::add_line_handler(std::uint32_t line, std::function<void()> handler) {
    EXPECTS(line < lines_max);
    lines_[line]->handlers.emplace_back(next_handle_, std::move(handler));
    return next_handle_++;
}

void Interrupts::remove_line_handler(std::uint32_t line, std::uint64_t handle) {
    EXPECTS(line < lines_max);
    std::erase_if(lines_[line]->handlers, [&](const auto& one) { return one.first == handle; });
}

void Interrupts::deliver(const MsiMessage& message) {
    if (message.address != msi_base || message.data >= vectors_.size()) return;
    Vector& vector = *vectors_[message.data];
    world_.touch(vector.event.place);
    if (!vector.used || vector.pending) return;
    vector.pending = true;
    if (running_) vector.event.post();
}

void Interrupts::run_vector(std::uint32_t number) {
    Vector& vector = *vectors_[number];
    if (!vector.pending || !running_) return;
    vector.pending = false;
    if (vector.handler) vector.handler();
}

void Interrupts::set_line(std::uint32_t line, std::uint64_t device, bool high) {
    EXPECTS(line < lines_max);
    world_.touch(sim::Place());
    auto& holders = lines_[line]->high;
    const auto at = std::find(holders.begin(), holders.end(), device);
    if (high && at == holders.end()) {
        holders.push_back(device);
        if (running_) lines_[line]->event.post();
    }
    if (!high && at != holders.end()) holders.erase(at);
}

void Interrupts::run_line(std::uint32_t number) {
    Line& line = *lines_[number];
    if (line.high.empty() || !running_) return;
    // By index: a handler may add one.
    for (std::size_t i = 0; i < line.handlers.size(); ++i) line.handlers[i].second();
    // Nobody to serve it: the guest would mask such a line.
    if (!line.high.empty() && !line.handlers.empty()) line.event.post();
}

void Interrupts::set_running(bool running) {
    running_ = running;
    if (!running) return;
    for (const auto& vector : vectors_)
        if (vector->pending) vector->event.post();
    for (const auto& line : lines_)
        if (!line->high.empty()) line->event.post();
}

}  // namespace hwmodels
