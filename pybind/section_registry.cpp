// SPDX-License-Identifier: Apache-2.0
// Python view of what has registered itself: drivers, devices, commands.
#include "blocklayer/drivers/driver.hpp"
#include "blocklayer/monitor/command.hpp"
#include "hwmodels/qdev/device.hpp"
#include "pybind/section.hpp"

namespace bindings {
namespace {

const char* kind_name(blocklayer::DriverKind kind) {
    switch (kind) {
    case blocklayer::DriverKind::format: return "format";
    case blocklayer::DriverKind::filter: return "filter";
    case blocklayer::DriverKind::protocol: return "protocol";
    }
    return "";
}

template <class Members>
py::list names(const Members& members) {
    py::list list;
    for (const auto& member : members) list.append(member.name);
    return list;
}

py::dict registered() {
    py::list drivers, devices, commands;
    for (const blocklayer::DriverSpec* spec : blocklayer::all_drivers()) {
        py::dict dict;
        dict["name"] = spec->name;
        dict["kind"] = kind_name(spec->kind);
        dict["options"] = names(spec->options);
        dict["creates"] = spec->create != nullptr;
        dict["backing"] = spec->supports_backing;
        dict["source"] = spec->source;
        drivers.append(dict);
    }
    for (const hwmodels::DeviceSpec* spec : hwmodels::all_device_models()) {
        py::dict dict;
        dict["name"] = spec->name;
        dict["bus"] = spec->bus;
        dict["properties"] = names(spec->properties);
        dict["source"] = spec->source;
        devices.append(dict);
    }
    for (const blocklayer::CommandSpec* spec : blocklayer::all_commands()) {
        py::dict dict;
        dict["name"] = spec->name;
        dict["source"] = spec->source;
        commands.append(dict);
    }
    py::dict all;
    all["drivers"] = drivers;
    all["devices"] = devices;
    all["commands"] = commands;
    return all;
}

const Section section("registry", {}, [](py::module_& module) {
    module.def("registered", registered,
               "What has registered itself, by name: drivers, devices and commands, each with its "
               "source.");
});

}  // namespace
}  // namespace bindings
