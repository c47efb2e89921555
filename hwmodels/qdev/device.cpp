// SPDX-License-Identifier: Apache-2.0
#include "hwmodels/qdev/device.hpp"

#include <fmt/format.h>
#include <map>

#include "sim/check.hpp"

namespace hwmodels {

namespace {

std::map<std::string, DeviceSpec, std::less<>>& registry() {
    static std::map<std::string, DeviceSpec, std::less<>> models;
    return models;
}

}  // namespace

DeviceRegistration::DeviceRegistration(DeviceSpec spec) {
    EXPECTS(spec.make != nullptr && !spec.source.empty());
    for (PropertySpec& property : spec.properties) property.hash = sim::hash_text(property.name);
    const std::string name = spec.name;
    const bool fresh = registry().emplace(name, std::move(spec)).second;
    EXPECTS(fresh);
}

const DeviceSpec* find_device_model(std::string_view name) {
    const auto found = registry().find(name);
    return found == registry().end() ? nullptr : &found->second;
}

std::vector<const DeviceSpec*> all_device_models() {
    std::vector<const DeviceSpec*> models;
    for (const auto& [name, spec] : registry()) models.push_back(&spec);
    return models;
}

const PropertySpec* find_property(const DeviceSpec& spec, std::string_view name) {
    for (const PropertySpec& property : spec.properties)
        if (property.name == name) return &property;
    return nullptr;
}

blocklayer::Status Device::change_drive(sim::Co&, std::string_view) {
    return blocklayer::failure(fmt::format("Property '{}.drive' not found", spec_.name));
}

Bus& Device::add_bus(std::unique_ptr<Bus> bus) {
    buses_.push_back(std::move(bus));
    return *buses_.back();
}

}  // namespace hwmodels
