// SPDX-License-Identifier: Apache-2.0
// Machine: the pc that guest devices plug into: its run state, device tree, buses, memory, CPUs.
//
// One machine per block layer, made at first use. Its devices are found by id or by their place in
// the tree ("/machine/peripheral/ID", "/machine/peripheral-anon/device[N]"). While it is stopped
// the guest's CPUs stand still, doorbells and interrupts wait, and no guest request is in flight.
//
// invariant  a device is in the tree from before realize until its DEVICE_DELETED is queued
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "blocklayer/errors.hpp"
#include "blocklayer/value.hpp"
#include "hwmodels/host_bus/guest_memory.hpp"
#include "hwmodels/host_bus/interrupts.hpp"
#include "hwmodels/host_bus/ports.hpp"
#include "hwmodels/pci/bus.hpp"
#include "hwmodels/pci/hotplug.hpp"
#include "hwmodels/qdev/device.hpp"
#include "sim/sync.hpp"

namespace blocklayer {
class BlockLayer;
}

namespace hwmodels {

class PiixIde;
namespace guest {
class GuestHeap;
}

// source  QAPI RunState: the ones this machine can be in.
enum class RunState : std::uint8_t { prelaunch, running, paused, io_error };
enum class Plug : bool { hot, cold };
std::string_view run_state_name(RunState state);

class Machine {
public:
    static constexpr std::uint64_t ram_default = 128ULL << 20;
    static constexpr std::uint32_t hotplug_line = 9;

    explicit Machine(blocklayer::BlockLayer& layer, std::uint64_t ram_bytes = ram_default);
    ~Machine();
    // The layer's machine; made with default options when there is none yet.
    static Machine& of(blocklayer::BlockLayer& layer);

    blocklayer::BlockLayer& layer() const { return layer_; }
    sim::World& world() const;
    sim::Thread& cpu() const { return cpu_; }
    GuestMemory& memory() { return memory_; }
    Interrupts& interrupts() { return interrupts_; }
    PciBus& pci() { return pci_; }
    PciHotplug& hotplug() { return hotplug_; }
    Ports& ports() { return ports_; }
    std::shared_ptr<guest::GuestHeap> guest_heap;  // see guest::heap_of

    // ---- run state ---------------------------------------------------------------------------
    RunState state() const { return state_; }
    bool running() const { return state_ == RunState::running; }
    // Stops the CPUs, waits for guest requests, writes caches back. Emits STOP if it ran.
    void stop(sim::Co& co, RunState state = RunState::paused);
    void resume();            // emits RESUME, repeats requests that failed before
    void reset(sim::Co& co);  // emits RESET; pending unplugs are done
    // A device has begun a command whose fiber has yet to run: a machine that stops waits for those
    // first, as for requests that a backend was told of (BlockBackend::announce).
    void command_begun() { ++begun_; }
    void command_arrived();
    // For guest fibers: suspends while the CPUs stand still.
    void wait_running(sim::Co& co);

    // ---- devices -----------------------------------------------------------------------------
    // arguments: device_add's. The new device is realized. Cold: as on the command line, before the
    // machine is switched on; some buses take devices only then.
    blocklayer::Result<Device*> add_device(sim::Co& co, const blocklayer::Value& arguments,
                                           Plug plug = Plug::hot);
    // A device inside another, which is not in the tree: it has its bus, id and path from outside.
    std::unique_ptr<Device> make_inside(Bus& bus, std::string_view model, std::string id,
                                        std::string path);
    void drop_inside(Device& device);
    // device_del: at once, or a request to the guest, as the device's bus has it.
    blocklayer::Status remove_device(sim::Co& co, std::string_view id);
    // By id or path; also the path of the device inside. nullptr: none.
    Device* find_device(std::string_view id_or_path) const;
    Bus* find_bus(std::string_view name) const;
    const std::vector<std::unique_ptr<Device>>& devices() const {
        return devices_;
    }  // oldest first
    const Bus& main_bus() const { return *main_bus_; }
    // Takes the device and what is plugged into it out, waiting for its requests.
    void unplug(sim::Co& co, Device& device);
    void refuse_unplug(Device& device);  // the guest said no: DEVICE_UNPLUG_GUEST_ERROR
    std::uint64_t next_bus_number(const std::string& kind) { return bus_numbers_[kind]++; }

private:
    Bus* choose_bus(std::string_view kind) const;
    blocklayer::Status set_properties(Device& device, const blocklayer::Value& arguments);
    void forget(Device& device);
    void announce_deleted(const std::string& id, const std::string& path, const std::string& inner);
    void wait_idle(sim::Co& co);
    bool has_begun() const;
    void settle(sim::Co& co);
    void eject_slot(int slot);

    blocklayer::BlockLayer& layer_;
    sim::Thread& cpu_;
    GuestMemory memory_;
    Interrupts interrupts_;
    PciBus pci_;
    PciHotplug hotplug_;
    Ports ports_;
    std::vector<std::unique_ptr<PciFunction>> chipset_;
    PiixIde* ide_ = nullptr;  // one of them
    std::unique_ptr<Bus> main_bus_;
    std::vector<std::unique_ptr<Bus>> board_buses_;  // of the chipset's own functions
    std::vector<std::unique_ptr<Device>> devices_;
    std::map<std::string, std::uint64_t> bus_numbers_;
    RunState state_ = RunState::prelaunch;
    bool stopping_ = false;
    sim::WaitQueue resumed_{"machine runs again"};
    sim::WaitQueue settled_{"device plugged in or out"};
    std::uint64_t anonymous_ = 0, begun_ = 0;
    std::vector<std::pair<std::string, std::string>> deleted_;  // id, path: still to be told
};

}  // namespace hwmodels
