// SPDX-License-Identifier: Apache-2.0
// Device: something plugged into a bus of the machine, made from a registered model.
//
// Life: made, properties set, realized (takes its permissions, gets its place on the bus),
// perhaps asked to go, unrealized, deleted. A device without a user's id is anonymous: numbered.
//
// invariant  a realized device has its place on the bus; its backend's permissions are its own
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "blocklayer/errors.hpp"
#include "hwmodels/qdev/property.hpp"
#include "sim/co.hpp"

namespace blocklayer {
class BlockBackend;
}

namespace hwmodels {

class Bus;
class Device;
class Machine;
class PciFunction;

struct DeviceSpec {
    std::string name;  // "virtio-blk-pci"
    std::string bus;   // kind of bus it plugs into: "PCI", "SCSI"
    std::vector<PropertySpec> properties;
    std::unique_ptr<Device> (*make)(Machine& machine, const DeviceSpec& spec) = nullptr;
    std::string inner;  // model of the device inside, which messages name: "virtio-blk-device"
    std::string source;
};

const PropertySpec* find_property(const DeviceSpec& spec, std::string_view name);

// A static object of this type in the device's file is all it takes to add a device.
class DeviceRegistration {
public:
    explicit DeviceRegistration(DeviceSpec spec);
};

const DeviceSpec* find_device_model(std::string_view name);
std::vector<const DeviceSpec*> all_device_models();  // sorted by name

class Device {
public:
    Device(Machine& machine, const DeviceSpec& spec)
        : machine_(machine), spec_(spec), properties_(spec.properties) {}
    Device(const Device&) = delete;
    Device& operator=(const Device&) = delete;
    virtual ~Device() = default;

    Machine& machine() const { return machine_; }
    const DeviceSpec& spec() const { return spec_; }
    const std::string& id() const { return id_; }      // empty: anonymous
    const std::string& path() const { return path_; }  // "/machine/peripheral/x"
    Bus* bus() const { return bus_; }
    const Properties& properties() const { return properties_; }
    Properties& properties() { return properties_; }
    const std::vector<std::unique_ptr<Bus>>& buses() const { return buses_; }  // its own

    // Takes permissions and the place on the bus. On failure nothing remains.
    virtual blocklayer::Status realize(sim::Co& co) = 0;
    // Waits until its requests are over, then gives everything back.
    virtual void unrealize(sim::Co& co) = 0;
    // A drive given as property, before realize.
    virtual blocklayer::Status set_drive(std::string_view) { return {}; }
    // The property "drive" of a live device: another node under the same backend.
    virtual blocklayer::Status change_drive(sim::Co& co, std::string_view name);
    virtual blocklayer::BlockBackend* backend() const { return nullptr; }
    // nullptr: it is on another kind of bus.
    virtual const PciFunction* pci_function() const { return nullptr; }
    virtual void reset() {}
    virtual void run_state_changed(bool /*running*/) {}
    // True: it goes only after the guest agreed; request_unplug starts that.
    virtual bool asks_guest_to_unplug() const { return false; }
    virtual blocklayer::Status request_unplug() { return {}; }
    // How the block layer names it: the device inside, where there is one.
    virtual std::string backend_path() const { return path_; }
    virtual std::string bus_path() const { return path_; }

    bool unplug_requested = false;
    bool unplug_sticky = false;  // asked while the machine stood still: a second try is refused
    bool realized = false;

protected:
    Bus& add_bus(std::unique_ptr<Bus> bus);
    void drop_buses() { buses_.clear(); }

private:
    friend class Machine;
    Machine& machine_;
    const DeviceSpec& spec_;
    std::string id_, path_;
    Bus* bus_ = nullptr;
    Properties properties_;
    std::vector<std::unique_ptr<Bus>> buses_;
};

// A place with slots; which, and what a slot is, the kind of bus says.
class Bus {
public:
    Bus(std::string name, std::string kind, Device* owner)
        : name_(std::move(name)), kind_(std::move(kind)), owner_(owner) {}
    Bus(const Bus&) = delete;
    Bus& operator=(const Bus&) = delete;
    virtual ~Bus() = default;

    const std::string& name() const { return name_; }
    const std::string& kind() const { return kind_; }
    Device* owner() const { return owner_; }                          // nullptr: the machine
    // Devices may come while the machine is there, not only before it is switched on.
    virtual bool hotpluggable() const { return true; }
    virtual bool full() const { return false; }
    const std::vector<Device*>& devices() const { return devices_; }  // newest first

private:
    friend class Machine;
    std::string name_, kind_;
    Device* owner_;
    std::vector<Device*> devices_;
};

}  // namespace hwmodels
