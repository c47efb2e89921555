// SPDX-License-Identifier: Apache-2.0
#include "hwmodels/guest/hotplug.hpp"

namespace hwmodels::guest {

HotplugHandler::HotplugHandler(Machine& machine, HotplugOptions given)
    : options(given), machine_(machine), self_(std::make_shared<HotplugHandler*>(this)) {
    handle_ = machine_.interrupts().add_line_handler(Machine::hotplug_line, [this] {
        machine_.hotplug().acknowledge();
        again_ = true;
        if (worker_.get() != nullptr) return;
        auto self = self_;
        worker_ = machine_.world().spawn(machine_.cpu(), "guest hotplug", [self](sim::Co& co) {
            while (*self != nullptr && (*self)->again_) {
                co.sleep((*self)->options.delay);
                if (*self == nullptr) return;
                (*self)->machine_.wait_running(co);
                if (*self != nullptr) (*self)->work(co);
            }
        });
    });
}

HotplugHandler::~HotplugHandler() {
    *self_ = nullptr;
    machine_.interrupts().remove_line_handler(Machine::hotplug_line, handle_);
}

void HotplugHandler::work(sim::Co& co) {
    again_ = false;
    const auto self = self_;
    const std::uint32_t up = machine_.hotplug().read_up();
    if (up != 0) machine_.pci().assign_addresses();
    for (int slot = 0; slot < 32; ++slot)
        if ((up >> slot & 1) != 0 && on_added) on_added(slot);
    for (int slot = 0; slot < 32 && *self != nullptr; ++slot) {
        if ((machine_.hotplug().read_down() >> slot & 1) == 0) continue;
        if (options.refuse) {
            machine_.hotplug().write_refusal(slot);
            continue;
        }
        for (auto disk = disks_.find(slot); *self != nullptr && disk != disks_.end();
             disk = disks_.find(slot)) {
            GuestDisk* leaving = disk->second;
            disks_.erase(disk);
            leaving->shut_down(co);
            if (*self == nullptr) return;
        }
        if (*self != nullptr) machine_.hotplug().write_eject(1U << slot);
    }
}

}  // namespace hwmodels::guest
