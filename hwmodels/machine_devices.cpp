// SPDX-License-Identifier: Apache-2.0
// Machine: devices added, found and taken out.
#include <fmt/format.h>
#include <algorithm>
#include <cctype>

#include "blocklayer/layer.hpp"
#include "blocklayer/monitor/iothread.hpp"
#include "hwmodels/machine.hpp"
#include "sim/check.hpp"

namespace hwmodels {

using blocklayer::Error;
using blocklayer::ErrorClass;
using blocklayer::failure;
using blocklayer::Result;
using blocklayer::Status;
using blocklayer::Unexpected;
using blocklayer::Value;

namespace {

bool well_formed(std::string_view id) {
    if (id.empty() || std::isalpha(static_cast<unsigned char>(id.front())) == 0) return false;
    return std::all_of(id.begin(), id.end(), [](char c) {
        return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '.' || c == '_';
    });
}

// Newest first, a device's own buses before its elder neighbours.
template <class Match>
Bus* find_below(Bus& bus, const Match& match) {
    if (match(bus)) return &bus;
    for (Device* device : bus.devices())
        for (auto own = device->buses().rbegin(); own != device->buses().rend(); ++own)
            if (Bus* found = find_below(**own, match)) return found;
    return nullptr;
}

template <class Match>
Bus* find_anywhere(Bus& main, const std::vector<std::unique_ptr<Bus>>& board, const Match& match) {
    if (Bus* found = find_below(main, match)) return found;
    for (auto bus = board.rbegin(); bus != board.rend(); ++bus)
        if (Bus* found = find_below(**bus, match)) return found;
    return nullptr;
}

Unexpected<Error> not_found(std::string_view id) {
    return Unexpected(Error{.error_class = ErrorClass::device_not_found,
                            .text = fmt::format("Device '{}' not found", id)});
}

}  // namespace

Bus* Machine::find_bus(std::string_view name) const {
    return find_anywhere(*main_bus_, board_buses_,
                         [&](const Bus& bus) { return bus.name() == name; });
}

Bus* Machine::choose_bus(std::string_view kind) const {
    const auto right = [&](const Bus& bus) { return bus.kind() == kind; };
    Bus* room = find_anywhere(*main_bus_, board_buses_,
                              [&](const Bus& bus) { return right(bus) && !bus.full(); });
    return room != nullptr ? room : find_anywhere(*main_bus_, board_buses_, right);
}

Device* Machine::find_device(std::string_view id_or_path) const {
    const bool by_path = id_or_path.starts_with('/');
    for (const auto& device : devices_) {
        if (!device->id().empty() && device->id() == id_or_path) return device.get();
        if (by_path && (device->path() == id_or_path || device->backend_path() == id_or_path))
            return device.get();
    }
    return nullptr;
}

Status Machine::set_properties(Device& device, const Value& arguments) {
    const DeviceSpec& spec = device.spec();
    for (const auto& [name, value] : arguments.members()) {
        if (name == "driver" || name == "id" || name == "bus") continue;
        const PropertySpec* property = find_property(spec, name);
        if (property == nullptr)
            return failure(fmt::format("Property '{}.{}' not found", spec.name, name));
        const std::string text = property_text(value);
        device.properties().set(*property, TRY(parse_property(*property, spec.name, text)));
        if (property->kind == PropertyKind::iothread && !text.empty() &&
            blocklayer::find_iothread(layer_, text) == nullptr)
            return not_found(text);
    }
    // The drive last: which thread its backend runs in is known by then.
    if (find_property(spec, "drive") != nullptr && !device.properties().text("drive").empty())
        TRY(device.set_drive(device.properties().text("drive")));
    return {};
}

std::unique_ptr<Device> Machine::make_inside(Bus& bus, std::string_view model, std::string id,
                                             std::string path) {
    const DeviceSpec* spec = find_device_model(model);
    EXPECTS(spec != nullptr);
    auto device = spec->make(*this, *spec);
    device->id_ = std::move(id);
    device->path_ = std::move(path);
    device->bus_ = &bus;
    bus.devices_.insert(bus.devices_.begin(), device.get());
    return device;
}

void Machine::drop_inside(Device& device) { std::erase(device.bus_->devices_, &device); }

Result<Device*> Machine::add_device(sim::Co& co, const Value& arguments, Plug plug) {
    const Value* id_value = arguments.find("id");
    const std::string id = id_value != nullptr ? property_text(*id_value) : "";
    // A number may stand for an id, as text it may not.
    if (id_value != nullptr && id_value->is_string() && !well_formed(id))
        return failure("Parameter 'id' expects an identifier");
    const Value* driver = arguments.find("driver");
    if (driver == nullptr) return failure("Parameter 'driver' is missing");
    const std::string model = property_text(*driver);
    const DeviceSpec* spec = find_device_model(model);
    if (spec == nullptr)
        return failure(fmt::format("'{}' is not a valid device model name", model));

    Bus* bus = nullptr;
    if (const Value* name = arguments.find("bus")) {
        bus = find_bus(property_text(*name));
        if (bus == nullptr) return failure(fmt::format("Bus '{}' not found", property_text(*name)));
        if (bus->kind() != spec->bus)
            return failure(fmt::format("Device '{}' can't go on {} bus", model, bus->kind()));
    } else {
        bus = choose_bus(spec->bus);
        if (bus == nullptr)
            return failure(fmt::format("No '{}' bus found for device '{}'", spec->bus, model));
    }
    if (plug == Plug::hot && !bus->hotpluggable())
        return failure(fmt::format("Bus '{}' does not support hotplugging", bus->name()));
    for (const auto& other : devices_)
        if (!id.empty() && other->id() == id)
            return failure(fmt::format("Duplicate device ID '{}'", id));

    devices_.push_back(spec->make(*this, *spec));
    Device& device = *devices_.back();
    device.id_ = id;
    device.path_ = id.empty() ? fmt::format("/machine/peripheral-anon/device[{}]", anonymous_++)
                              : "/machine/peripheral/" + id;
    device.bus_ = bus;
    bus->devices_.insert(bus->devices_.begin(), &device);
    Status done = set_properties(device, arguments);
    if (done) done = device.realize(co);
    if (!done) {
        forget(device);
        return Unexpected(std::move(done).error());
    }
    device.realized = true;
    settled_.wake_all();
    return &device;
}

void Machine::forget(Device& device) {
    std::erase(device.bus_->devices_, &device);
    std::erase_if(devices_, [&](const auto& one) { return one.get() == &device; });
    settled_.wake_all();
}

// The device inside goes first. The last reference goes a little later: an event of its own, one
// for all that go together.
void Machine::announce_deleted(const std::string& id, const std::string& path,
                               const std::string& inner) {
    if (inner != path) deleted_.push_back({"", inner});
    deleted_.push_back({id, path});
    if (deleted_.size() > (inner != path ? 2 : 1)) return;
    world().post(world().main_thread(), "device deleted", [this] {
        for (const auto& [name, place] : std::exchange(deleted_, {})) {
            Value data;
            if (!name.empty()) data.set("device", name);
            data.set("path", place);
            layer_.emit_event("DEVICE_DELETED", std::move(data));
        }
    });
}

void Machine::unplug(sim::Co& co, Device& device) {
    EXPECTS(device.realized);
    device.realized = false;
    for (const auto& bus : device.buses())
        while (!bus->devices().empty()) {
            Device& inner = *bus->devices().front();
            if (inner.realized)
                unplug(co, inner);
            else
                settled_.wait(co);  // somebody else is plugging it in, or out
        }
    device.unrealize(co);
    const std::string id = device.id(), path = device.path(), inner = device.backend_path();
    forget(device);
    announce_deleted(id, path, inner);
}

Status Machine::remove_device(sim::Co& co, std::string_view id) {
    Device* device = find_device(id);
    if (device == nullptr || !device->realized) {
        if (id == "/machine" || id == "/machine/peripheral" || id == "/machine/peripheral-anon")
            return failure(fmt::format("{} is not a hotpluggable device", id));
        return not_found(id);
    }
    if (!device->asks_guest_to_unplug()) {
        unplug(co, *device);
        return {};
    }
    if (device->unplug_requested && device->unplug_sticky)
        return failure(fmt::format("Device {} is already in the process of unplug", device->id()));
    TRY(device->request_unplug());
    device->unplug_requested = true;
    device->unplug_sticky = !running();
    return {};
}

void Machine::eject_slot(int slot) {
    world().spawn(world().main_thread(), "eject", [this, slot](sim::Co& co) {
        for (bool again = true; again;) {
            again = false;
            for (const auto& device : devices_) {
                const PciFunction* function = device->pci_function();
                if (function == nullptr || function->devfn >> 3 != slot || !device->realized)
                    continue;
                unplug(co, *device);
                again = true;
                break;
            }
        }
    });
}

void Machine::refuse_unplug(Device& device) {
    device.unplug_requested = false;
    Value data;
    if (!device.id().empty()) data.set("device", device.id());
    data.set("path", device.path());
    layer_.emit_event("DEVICE_UNPLUG_GUEST_ERROR", std::move(data));
}

}  // namespace hwmodels
