// SPDX-License-Identifier: Apache-2.0
// query-pci: the functions on the PCI bus with their ids and regions.
//
// source  QAPI pci.json.
#include "blocklayer/monitor/command.hpp"
#include "hwmodels/machine.hpp"

namespace hwmodels {
namespace {

using namespace blocklayer;

std::string_view class_text(std::uint16_t code) {
    switch (code) {
    case 0x0100: return "SCSI controller";
    case 0x0101: return "IDE controller";
    case 0x0106: return "SATA controller";
    case 0x0600: return "Host bridge";
    case 0x0601: return "ISA bridge";
    case 0x0680: return "Bridge";
    default: return "";
    }
}

Value regions_of(const PciFunction& function) {
    Value list = Value::list();
    for (std::uint32_t number = 0; number < 6; ++number) {
        const Bar& bar = function.bars()[number];
        if (bar.kind == BarKind::none) continue;
        // One that decodes nothing shows as -1.
        const auto address = static_cast<std::int64_t>(function.bar_address(number));
        Value region = Value::dict({{"bar", number},
                                    {"type", bar.kind == BarKind::io ? "io" : "memory"},
                                    {"address", address},
                                    {"size", bar.size}});
        if (bar.kind != BarKind::io) {
            region.set("prefetch", bar.prefetchable);
            region.set("mem_type_64", bar.kind == BarKind::memory64);
        }
        list.push(std::move(region));
    }
    return list;
}

Value describe(const PciFunction& function) {
    const PciIds& ids = function.ids();
    const auto code = static_cast<std::uint16_t>(ids.class_code >> 8);
    Value class_info = Value::dict({{"class", unsigned{code}}});
    if (!class_text(code).empty()) class_info.set("desc", class_text(code));
    Value device = Value::dict({
        {"bus", 0},
        {"slot", function.devfn >> 3},
        {"function", function.devfn & 7},
        {"class_info", std::move(class_info)},
        {"id", Value::dict({{"device", unsigned{ids.device}},
                            {"vendor", unsigned{ids.vendor}},
                            {"subsystem", unsigned{ids.subsystem}},
                            {"subsystem-vendor", unsigned{ids.subsystem_vendor}}})},
        {"irq_pin", ids.interrupt_pin ? 1 : 0},
        {"qdev_id", function.device_id},
        {"regions", regions_of(function)},
    });
    if (ids.interrupt_pin) device.set("irq", function.config_read(pci_config::interrupt_line, 1));
    return device;
}

Result<Value> query_pci(sim::Co&, BlockLayer& layer, const Value&) {
    Value devices = Value::list();
    for (const PciFunction* function : Machine::of(layer).pci().functions())
        devices.push(describe(*function));
    Value buses = Value::list();
    buses.push(Value::dict({{"bus", 0}, {"devices", std::move(devices)}}));
    return buses;
}

const TypeRegistration types[] = {
    TypeRegistration(
        {.name = "PciDeviceClass", .members = {optional("desc", "str"), required("class", "int")}}),
    TypeRegistration(
        {.name = "PciDeviceId",
         .members = {required("device", "int"), required("vendor", "int"),
                     optional("subsystem", "int"), optional("subsystem-vendor", "int")}}),
    TypeRegistration({.name = "PciMemoryRegion",
                      .members = {required("bar", "int"), required("type", "str"),
                                  required("address", "int"), required("size", "int"),
                                  optional("prefetch", "bool"), optional("mem_type_64", "bool")}}),
    TypeRegistration(
        {.name = "PciDeviceInfo",
         .members = {required("bus", "int"), required("slot", "int"), required("function", "int"),
                     required("class_info", "PciDeviceClass"), required("id", "PciDeviceId"),
                     optional("irq", "int"), required("irq_pin", "int"), required("qdev_id", "str"),
                     required("regions", "[PciMemoryRegion]"),
                     optional("pci_bridge", "PciBridgeInfo")}}),
    TypeRegistration({.name = "PciMemoryRange",
                      .members = {required("base", "int"), required("limit", "int")}}),
    TypeRegistration(
        {.name = "PciBusInfo",
         .members = {required("number", "int"), required("secondary", "int"),
                     required("subordinate", "int"), required("io_range", "PciMemoryRange"),
                     required("memory_range", "PciMemoryRange"),
                     required("prefetchable_range", "PciMemoryRange")}}),
    TypeRegistration({.name = "PciBridgeInfo",
                      .members = {required("bus", "PciBusInfo"),
                                  optional("devices", "[PciDeviceInfo]")}}),
    TypeRegistration({.name = "PciInfo",
                      .members = {required("bus", "int"), required("devices", "[PciDeviceInfo]")}}),
};
const CommandRegistration registration({.name = "query-pci",
                                        .returns = "[PciInfo]",
                                        .run = query_pci,
                                        .source = "QAPI pci.json query-pci"});

}  // namespace
}  // namespace hwmodels
