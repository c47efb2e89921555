// SPDX-License-Identifier: Apache-2.0
#include "hwmodels/machine.hpp"

#include <fmt/format.h>
#include <algorithm>
#include <any>

#include "blocklayer/graph/drain.hpp"
#include "blocklayer/layer.hpp"
#include "blocklayer/monitor/command.hpp"
#include "hwmodels/ata/piix.hpp"
#include "sim/check.hpp"
#include "sim/mutant.hpp"

namespace hwmodels {

using blocklayer::BlockBackend;
using blocklayer::Value;

namespace {

constexpr const char* extension_name = "machine";

const blocklayer::EventRegistration stop_event({"STOP", {}});
const blocklayer::EventRegistration resume_event({"RESUME", {}});
const blocklayer::EventRegistration reset_event(
    {"RESET",
     {blocklayer::required("guest", "bool"), blocklayer::required("reason", "ShutdownCause")}});
const blocklayer::EventRegistration deleted_event({"DEVICE_DELETED",
                                                   {blocklayer::optional("device", "str"),
                                                    blocklayer::required("path", "str")}});
const blocklayer::EventRegistration refused_event({"DEVICE_UNPLUG_GUEST_ERROR",
                                                   {blocklayer::optional("device", "str"),
                                                    blocklayer::required("path", "str")}});

// The functions a pc has without any device added.
struct ChipsetFunction {
    const char* model;
    int devfn;
    PciIds ids;
};
constexpr ChipsetFunction chipset[] = {
    {"i440FX", pci_devfn(0, 0), {0x8086, 0x1237, 0x1af4, 0x1100, 2, 0x060000, false}},
    {"PIIX3", pci_devfn(1, 0), {0x8086, 0x7000, 0x1af4, 0x1100, 0, 0x060100, false}},
    {"piix3-ide", pci_devfn(1, 1), {0x8086, 0x7010, 0x1af4, 0x1100, 0, 0x010180, false}},
    {"PIIX4_PM", pci_devfn(1, 3), {0x8086, 0x7113, 0x1af4, 0x1100, 3, 0x068000, true}},
};

class ChipsetDevice final : public PciFunction {
public:
    ChipsetDevice(Interrupts& interrupts, const ChipsetFunction& function)
        : PciFunction(interrupts, function.model, function.ids) {}
};

}  // namespace

std::string_view run_state_name(RunState state) {
    switch (state) {
    case RunState::prelaunch: return "prelaunch";
    case RunState::running: return "running";
    case RunState::paused: return "paused";
    case RunState::io_error: return "io-error";
    }
    return "";
}

Machine& Machine::of(blocklayer::BlockLayer& layer) {
    const auto found = layer.extensions.find(extension_name);
    if (found != layer.extensions.end())
        return *std::any_cast<const std::shared_ptr<Machine>&>(found->second);
    auto machine = std::make_shared<Machine>(layer);
    layer.extensions[extension_name] = machine;
    return *machine;
}

Machine::Machine(blocklayer::BlockLayer& layer, std::uint64_t ram_bytes)
    : layer_(layer),
      cpu_(layer.world().add_thread("vcpu0", sim::ThreadKind::vcpu)),
      memory_(ram_bytes),
      interrupts_(layer.world(), cpu_),
      main_bus_(std::make_unique<Bus>("pci.0", "PCI", nullptr)) {
    for (const ChipsetFunction& function : chipset) {
        if (std::string_view(function.model) == "piix3-ide") {
            auto ide = std::make_unique<PiixIde>(*this, function.ids);
            board_buses_ = ide->make_buses();
            ide_ = ide.get();
            chipset_.push_back(std::move(ide));
        } else {
            chipset_.push_back(std::make_unique<ChipsetDevice>(interrupts_, function));
        }
        const blocklayer::Status plugged = pci_.plug(*chipset_.back(), function.devfn, false);
        INVARIANT(plugged.has_value());
    }
    hotplug_.set_event = [this](bool high) { interrupts_.set_line(hotplug_line, 0, high); };
    hotplug_.eject = [this](int slot) { eject_slot(slot); };
    hotplug_.refused = [this](int slot) {
        for (const auto& device : devices_) {
            const PciFunction* function = device->pci_function();
            if (function != nullptr && function->devfn >> 3 == slot) refuse_unplug(*device);
        }
    };
    layer_.stop_machine = [this] {
        if (!running() || stopping_) return;
        stopping_ = true;
        layer_.world().spawn(layer_.world().main_thread(), "stop after an I/O error",
                             [this](sim::Co& co) {
                                 stopping_ = false;
                                 stop(co, RunState::io_error);
                             });
    };
}

Machine::~Machine() {
    layer_.stop_machine = nullptr;
    // Newest first: devices on a controller's bus were added after it.
    while (!devices_.empty()) devices_.pop_back();
}

sim::World& Machine::world() const { return layer_.world(); }

// ---- run state -----------------------------------------------------------------------------

void Machine::wait_idle(sim::Co& co) {
    // By index: backends may come and go meanwhile.
    for (std::size_t i = 0; i < layer_.backends().size(); ++i) {
        blocklayer::Node* node = layer_.backends()[i]->node();
        if (node != nullptr) blocklayer::Drain::wait_idle(co, *node);
    }
}

void Machine::command_arrived() {
    EXPECTS(begun_ > 0);
    if (--begun_ == 0) blocklayer::Drain::kick(layer_);
}

bool Machine::has_begun() const {
    if (sim::mutant<"machine: a stop overlooks what has just begun">()) return false;
    const auto& backends = layer_.backends();
    return begun_ > 0 || std::any_of(backends.begin(), backends.end(), [](const BlockBackend* one) {
               return one->announced() > 0 || one->resuming() > 0;
           });
}

// Until no request is under way, nor about to be. One of several steps stands in line at the next
// while we wait for the others.
void Machine::settle(sim::Co& co) {
    do {
        while (has_begun()) blocklayer::Drain::wait_change(co, layer_);
        wait_idle(co);
    } while (has_begun());
}

void Machine::stop(sim::Co& co, RunState state) {
    const bool ran = running();
    if (ran) {
        state_ = state;
        interrupts_.set_running(false);
        for (const auto& device : devices_) device->run_state_changed(false);
        layer_.emit_event("STOP");
    }
    settle(co);
    for (std::size_t i = 0; ran && i < layer_.backends().size(); ++i) {
        BlockBackend& backend = *layer_.backends()[i];
        if (!backend.has_device() || backend.node() == nullptr || backend.read_only()) continue;
        // The section may be that of a job whose completion waits for this very command.
        if (backend.node()->drained()) continue;
        // Nobody asked for this flush: its error shows when the guest flushes itself.
        const blocklayer::IoStatus flushed = backend.flush(co);
        world().emit("flush at stop", {}, flushed ? 0 : sim::to_int(flushed.error()));
    }
}

void Machine::resume() {
    if (running()) return;
    layer_.emit_event("RESUME");
    state_ = RunState::running;
    pci_.assign_addresses();  // the firmware's work, done when the CPUs first run
    interrupts_.set_running(true);
    for (const auto& device : devices_) device->run_state_changed(true);
    for (blocklayer::BlockBackend* backend : layer_.backends())
        backend->io_state = blocklayer::IoState::ok;
    resumed_.wake_all();
}

void Machine::reset(sim::Co& co) {
    wait_idle(co);
    layer_.emit_event("RESET",
                      Value::dict({{"guest", false}, {"reason", "host-qmp-system-reset"}}));
    // By index and anew each time: unplugging waits, and other devices may go meanwhile.
    for (bool again = true; again;) {
        again = false;
        for (const auto& device : devices_)
            if (device->unplug_requested) {
                unplug(co, *device);
                again = true;
                break;
            }
    }
    hotplug_.reset();
    for (const auto& function : pci_.functions()) function->reset_config();
    ide_->reset_channels();
    for (const auto& device : devices_) device->reset();
    settle(co);  // what devices had begun before: the guest's memory is its own from here on
    if (running())
        pci_.assign_addresses();
    else
        state_ = RunState::prelaunch;
}

void Machine::wait_running(sim::Co& co) {
    while (!running()) resumed_.wait(co);
}

}  // namespace hwmodels
