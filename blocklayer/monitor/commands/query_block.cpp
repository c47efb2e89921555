// SPDX-License-Identifier: Apache-2.0
#include "blocklayer/layer.hpp"
#include "blocklayer/monitor/block_info/node_info.hpp"
#include "blocklayer/monitor/command.hpp"

namespace blocklayer {
namespace {

const TypeRegistration info(
    {.name = "BlockInfo",
     .members = {required("device", "str"), optional("qdev", "str"), required("type", "str"),
                 required("removable", "bool"), required("locked", "bool"),
                 optional("inserted", "BlockDeviceInfo"), optional("tray_open", "bool"),
                 optional("io-status", "BlockDeviceIoStatus")}});

std::string_view wire_name(IoState state) {
    switch (state) {
    case IoState::ok: return "ok";
    case IoState::failed: return "failed";
    case IoState::no_space: return "nospace";
    }
    return "ok";
}

Value block_info(BlockBackend& backend) {
    const DeviceCallbacks& device = backend.callbacks();
    Value info = Value::dict({{"device", Value(backend.name())}});
    if (backend.has_device())
        info.set("qdev", backend.device_id().empty() ? backend.qom_path() : backend.device_id());
    info.set("type", "unknown");
    info.set("removable", !backend.has_device() || device.change_media != nullptr);
    info.set("locked", device.is_medium_locked && device.is_medium_locked());
    if (Node* node = backend.node())
        info.set("inserted", block_device_info(*node, &backend, Chain::yes));
    if (device.is_tray_open) info.set("tray_open", device.is_tray_open());
    if (backend.shows_io_state()) info.set("io-status", wire_name(backend.io_state));
    return info;
}

Result<Value> query_block(sim::Co&, BlockLayer& layer, const Value&) {
    Value list = Value::list();
    for (BlockBackend* backend : layer.backends())
        if (!backend->name().empty() || backend->has_device()) list.push(block_info(*backend));
    return list;
}

const CommandRegistration registration({.name = "query-block",
                                        .returns = "[BlockInfo]",
                                        .run = query_block,
                                        .source = "QAPI block-core.json"});

}  // namespace
}  // namespace blocklayer
