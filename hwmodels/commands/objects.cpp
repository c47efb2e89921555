// SPDX-License-Identifier: Apache-2.0
// Devices in the object tree: qom-list, qom-get and qom-set see them here.
//
// source  paths, types and texts as the real program has them.
#include <fmt/format.h>
#include <iterator>

#include "blocklayer/monitor/qom.hpp"
#include "hwmodels/machine.hpp"
#include "hwmodels/qdev/block_properties.hpp"

namespace hwmodels {
namespace {

using namespace blocklayer;

constexpr std::string_view peripheral = "/machine/peripheral",
                           anonymous = "/machine/peripheral-anon";

Status set_property(sim::Co& co, Machine& machine, const std::string& path,
                    const PropertySpec& property, const Value& value) {
    Device* device = machine.find_device(path);
    if (device == nullptr) return failure(fmt::format("Device '{}' not found", path));
    const bool number =
        property.kind == PropertyKind::int32 || property.kind == PropertyKind::uint16 ||
        property.kind == PropertyKind::uint32 || property.kind == PropertyKind::uint64;
    if (property.kind == PropertyKind::drive) {
        if (!value.is_string())
            return failure(
                fmt::format("Invalid parameter type for '{}', expected: string", property.name));
        return device->change_drive(co, value.as_string());
    }
    if (property.name == "bootindex" && number) {
        if (!value.is_int())
            return failure(
                fmt::format("Invalid parameter type for '{}', expected: integer", property.name));
        device->properties().set(property, value);
        return {};
    }
    const DeviceSpec& spec = device->spec();
    const std::string owner =
        !spec.inner.empty()    ? fmt::format("anonymous device (type '{}')", spec.inner)
        : device->id().empty() ? fmt::format("anonymous device (type '{}')", spec.name)
                               : fmt::format("device '{}' (type '{}')", device->id(), spec.name);
    return failure(fmt::format("Attempt to set property '{}' on {} after it was realized",
                               property.name, owner));
}

Value shown_value(const Device& device, const PropertySpec& property) {
    if (property.kind != PropertyKind::drive) return device.properties().get(property);
    const BlockBackend* backend = device.backend();
    if (backend == nullptr) return "";
    if (!backend->name().empty()) return backend->name();
    return backend->node() != nullptr ? Value(backend->node()->name()) : Value("");
}

std::optional<QomObject> folder(const Machine& machine, std::string_view path) {
    QomObject object{.type = "container", .properties = {}};
    for (const auto& device : machine.devices()) {
        const std::string& whole = device->path();
        const std::size_t cut = whole.rfind('/');
        if (whole.substr(0, cut) != path) continue;
        object.properties.push_back({.name = whole.substr(cut + 1),
                                     .type = fmt::format("child<{}>", device->spec().name),
                                     .get = [whole]() -> Result<Value> { return Value(whole); }});
    }
    return object;
}

std::optional<QomObject> resolve(BlockLayer& layer, std::string_view path) {
    Machine& machine = Machine::of(layer);
    if (path == peripheral || path == anonymous) return folder(machine, path);
    Device* device = machine.find_device(path);
    if (device == nullptr) return std::nullopt;
    const bool inner = path != device->path() && path != device->id();
    QomObject object{.type = inner ? device->spec().inner : device->spec().name, .properties = {}};
    const auto constant = [&](const char* name, const char* type, Value value) {
        object.properties.push_back(
            {.name = name, .type = type, .get = [value]() -> Result<Value> { return value; }});
    };
    const Bus* bus = device->bus();
    constant("parent_bus", "link<bus>",
             bus->owner() == nullptr ? Value("/machine/i440fx/" + bus->name())
                                     : Value(bus->owner()->backend_path() + "/" + bus->name()));
    constant("realized", "bool", device->realized);
    constant("hotplugged", "bool", true);
    constant("hotpluggable", "bool", true);
    const std::string whole = device->path();
    for (const PropertySpec& property : device->spec().properties)
        object.properties.push_back(
            {.name = property.name,
             .type = std::string(type_name(property.kind)),
             .get = [device, &property]() -> Result<Value> {
                 return shown_value(*device, property);
             },
             .set =
                 [&machine, whole, &property](sim::Co& co, const Value& value) {
                     return set_property(co, machine, whole, property, value);
                 }});
    if (!device->spec().inner.empty() && !inner)
        constant("virtio-backend", "child<virtio-device>", device->backend_path());
    return object;
}

const QomRegistration registration(resolve);

}  // namespace
}  // namespace hwmodels
