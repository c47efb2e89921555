// SPDX-License-Identifier: Apache-2.0
#include "hwmodels/virtio/device.hpp"

#include <cstring>

#include "hwmodels/machine.hpp"
#include "sim/check.hpp"
#include "sim/mutant.hpp"

namespace hwmodels {

using namespace virtio;

VirtioDevice::Queue::Queue(VirtioDevice& device, std::size_t index, sim::Thread& thread)
    : doorbell(device.host_.machine().world(), thread, "virtqueue doorbell",
               [&device, index] { device.serve(index); }) {}

void VirtioDevice::add_queues(std::size_t count, std::uint16_t size, sim::Thread& thread) {
    EXPECTS(queues_.empty());
    thread_ = &thread;
    const Properties& p = host_.properties();
    common_features_ = feature_version_1;
    if (p.flag("indirect_desc")) common_features_ |= feature_indirect;
    if (p.flag("event_idx")) common_features_ |= feature_event_index;
    if (p.flag("queue_reset")) common_features_ |= feature_ring_reset;
    for (std::size_t index = 0; index < count; ++index) {
        queues_.push_back(std::make_unique<Queue>(*this, index, thread));
        queues_.back()->default_size = size;
        queues_.back()->ring.reset(size);
    }
    stopped_ = !host_.machine().running();
    if (stopped_) pause();
}

void VirtioDevice::keeps_to_itself() {
    place_ = transport_.place();
    for (const auto& queue : queues_) queue->doorbell.place = place_;
}

void VirtioDevice::run_state_changed(bool running) {
    if (running == !stopped_) return;
    stopped_ = !running;
    if (running)
        unpause();
    else
        pause();
}

void VirtioDevice::unpause() {
    EXPECTS(paused_ > 0);
    if (--paused_ > 0) return;
    if (sim::mutant<"virtio: doorbells rung while paused are lost">()) return;
    for (std::size_t index = 0; index < queues_.size(); ++index) notify(index);
}

void VirtioDevice::write_status(std::uint8_t value) {
    if (value == 0) {
        reset();
        return;
    }
    if (resetting_) return;  // the driver has to wait until the status reads 0
    const std::uint8_t gained = static_cast<std::uint8_t>(value & ~status_);
    if ((gained & status_features_ok) != 0) {
        const bool fits =
            (driver_features & ~offered_features()) == 0 && has_feature(feature_version_1);
        if (!fits) value = static_cast<std::uint8_t>(value & ~status_features_ok);
    }
    const bool starts = (gained & status_driver_ok) != 0;
    if (starts && (value & status_features_ok) == 0)
        value = static_cast<std::uint8_t>(value & ~status_driver_ok);
    status_ = static_cast<std::uint8_t>(value | (status_ & status_needs_reset));
    if (!starts || !driver_ok()) return;
    on_driver_ok();
    for (std::size_t index = 0; index < queues_.size(); ++index) notify(index);
}

void VirtioDevice::enable_queue(std::size_t index) {
    EXPECTS(index < queues_.size());
    VirtQueue& ring = queue(index);
    if (ring.enabled || resetting_ || queues_[index]->resetting) return;
    if ((status_ & status_features_ok) == 0 ||
        !ring.start(host_.machine().memory(), has_feature(feature_event_index),
                    has_feature(feature_indirect))) {
        set_broken();
        return;
    }
    ring.enabled = true;
}

void VirtioDevice::notify(std::size_t index) {
    if (index >= queues_.size() || !queue(index).enabled || !may_run()) return;
    queues_[index]->doorbell.post();
}

void VirtioDevice::serve(std::size_t index) {
    if (!queue(index).enabled || !may_run()) return;
    on_notify(index);
}

void VirtioDevice::complete(std::size_t index, std::uint16_t head, std::uint32_t written) {
    VirtQueue& ring = queue(index);
    if (queues_[index]->resetting) {
        ring.forget_chain();
        if (ring.in_use() == 0) finish_queue_reset(*queues_[index]);
        return;
    }
    if (broken()) return;
    ring.push(head, written);
    if (ring.take_interrupt()) transport_.interrupt(ring.vector, isr_queue);
}

void VirtioDevice::reset_queue(std::size_t index) {
    Queue& queue = *queues_[index];
    if (!has_feature(feature_ring_reset) || !queue.ring.enabled || resetting_ || queue.resetting)
        return;
    queue.doorbell.cancel();
    queue.ring.enabled = false;
    queue.resetting = true;
    if (queue.ring.in_use() == 0)
        finish_queue_reset(queue);
    else
        on_queue_reset(index);
}

void VirtioDevice::finish_queue_reset(Queue& queue) {
    queue.resetting = false;
    queue.ring.reset(queue.default_size);
}

void VirtioDevice::end_request() {
    EXPECTS(in_flight_ > 0);
    if (--in_flight_ > 0) return;
    idle_.wake_all();
    if (resetting_ && !sim::mutant<"virtio: a reset never ends">()) finish_reset();
}

void VirtioDevice::wait_requests(sim::Co& co) {
    while (in_flight_ > 0) idle_.wait(co);
}

void VirtioDevice::reset() {
    ++epoch_;
    for (const auto& queue : queues_) {
        queue->doorbell.cancel();
        queue->ring.reset(queue->default_size);
        queue->resetting = false;
    }
    on_reset();
    resetting_ = true;
    if (in_flight_ == 0 || sim::mutant<"virtio: a reset does not wait">()) finish_reset();
}

void VirtioDevice::finish_reset() {
    resetting_ = false;
    status_ = 0;
    driver_features = 0;
    config_vector = no_vector;
    host_.machine().world().emit("virtio device reset", {}, epoch_);
}

std::uint64_t VirtioDevice::config_read(std::uint64_t offset, std::uint32_t size) {
    config_.clear();
    fill_config(config_);
    if (offset + size > config_.size()) return ~0ULL;
    std::uint64_t value = 0;
    for (std::uint32_t i = 0; i < size; ++i)
        value |= std::to_integer<std::uint64_t>(config_[offset + i]) << (8 * i);
    return value;
}

void VirtioDevice::config_changed() {
    ++generation_;
    if (driver_ok()) transport_.interrupt(config_vector, isr_config);
}

void VirtioDevice::set_broken() {
    if (broken()) return;
    host_.machine().world().emit("virtio device broken");
    const bool tell = driver_ok();
    status_ |= status_needs_reset;
    if (tell) transport_.interrupt(config_vector, isr_config);
}

}  // namespace hwmodels
