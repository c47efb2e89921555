// SPDX-License-Identifier: Apache-2.0
// device-list-properties: what a device model can be told.
//
// source  QAPI qdev.json.
#include <fmt/format.h>

#include "blocklayer/monitor/command.hpp"
#include "hwmodels/machine.hpp"

namespace hwmodels {
namespace {

using namespace blocklayer;

Result<Value> device_list_properties(sim::Co&, BlockLayer&, const Value& arguments) {
    const std::string& name = arguments.at("typename").as_string();
    const DeviceSpec* spec = find_device_model(name);
    if (spec == nullptr)
        return Unexpected(Error{.error_class = ErrorClass::device_not_found,
                                .text = fmt::format("Device '{}' not found", name)});
    Value list = Value::list();
    for (const PropertySpec& property : spec->properties) {
        Value shown = Value::dict({{"name", property.name}, {"type", type_name(property.kind)}});
        if (property.kind == PropertyKind::boolean)
            shown.set("description", "on/off");
        else if (!type_help(property.kind).empty())
            shown.set("description", type_help(property.kind));
        const bool text = property.kind == PropertyKind::string ||
                          property.kind == PropertyKind::drive ||
                          property.kind == PropertyKind::iothread;
        if (!text && property.name != "bootindex") shown.set("default-value", property.fallback);
        list.push(std::move(shown));
    }
    return list;
}

const CommandRegistration registration({
    .name = "device-list-properties",
    .args = {required("typename", "str")},
    .returns = "[ObjectPropertyInfo]",
    .run = device_list_properties,
    .source = "QAPI qdev.json device-list-properties",
});

}  // namespace
}  // namespace hwmodels
