// SPDX-License-Identifier: Apache-2.0
// eject, blockdev-open-tray, -close-tray, -remove-medium, -insert-medium, -change-medium: the
// drives whose medium comes and goes.
//
// A drive with a tray takes and gives media only while it is open; one without (a floppy) hears of
// each itself. A change is its steps, one after the other: what was done before a failing one
// stays.
//
// source  QAPI block.json, block-core.json; order and texts as the real program has them.
#include <fmt/format.h>

#include "blocklayer/graph/backend.hpp"
#include "blocklayer/graph/drain.hpp"
#include "blocklayer/layer.hpp"
#include "blocklayer/monitor/command.hpp"
#include "hwmodels/machine.hpp"

namespace hwmodels {
namespace {

using namespace blocklayer;

enum class Force : bool { no, yes };

Unexpected<Error> device_not_found(std::string_view name) {
    return Unexpected(Error{.error_class = ErrorClass::device_not_found,
                            .text = fmt::format("Device '{}' not found", name)});
}

// The backend of a device's id or path, or with a name of its own.
Result<BlockBackend*> find_drive(BlockLayer& layer, const Value& arguments) {
    const Value* name = arguments.find("device");
    const Value* id = arguments.find("id");
    if ((name != nullptr) == (id != nullptr))
        return failure("Need exactly one of 'device' and 'id'");
    if (name != nullptr) {
        BlockBackend* backend = layer.find_backend(name->as_string());
        if (backend == nullptr) return device_not_found(name->as_string());
        return backend;
    }
    const std::string& wanted = id->as_string();
    if (BlockBackend* backend = layer.find_device_backend(wanted)) return backend;
    if (Machine::of(layer).find_device(wanted) == nullptr) return device_not_found(wanted);
    return failure("Device does not have a block device backend");
}

std::string shown_name(const BlockBackend& backend) {
    if (!backend.name().empty()) return backend.name();
    return backend.device_id().empty() ? backend.qom_path() : backend.device_id();
}

bool removable(BlockBackend& backend) {
    return !backend.has_device() || backend.callbacks().change_media != nullptr;
}
bool has_tray(BlockBackend& backend) { return backend.callbacks().is_tray_open != nullptr; }

Status check_removable(BlockBackend& backend) {
    if (removable(backend)) return {};
    return failure(fmt::format("Device '{}' is not removable", shown_name(backend)));
}

// The tray opens (and the guest hears of it), or closes over what is in it.
void move_tray(BlockBackend& backend, bool load) {
    const bool was_open = backend.callbacks().is_tray_open();
    const Status moved = backend.callbacks().change_media(load);
    if (!moved || was_open == backend.callbacks().is_tray_open()) return;
    backend.layer().emit_event("DEVICE_TRAY_MOVED", Value::dict({{"device", backend.name()},
                                                                 {"tray-open", !load},
                                                                 {"id", shown_name(backend)}}));
}

// False: the guest has locked it and was asked.
Result<bool> open_tray(BlockBackend& backend, Force force) {
    TRY(check_removable(backend));
    if (!has_tray(backend) || backend.callbacks().is_tray_open()) return true;
    const bool locked =
        backend.callbacks().is_medium_locked && backend.callbacks().is_medium_locked();
    if (locked && backend.callbacks().eject_request)
        backend.callbacks().eject_request(force == Force::yes);
    if (locked && force == Force::no) return false;
    move_tray(backend, false);
    return true;
}

Status open_tray_or_fail(BlockBackend& backend, Force force) {
    if (TRY(open_tray(backend, force))) return {};
    return failure(
        fmt::format("Device '{}' is locked and force was not specified, wait for tray to open and "
                    "try again",
                    shown_name(backend)));
}

Status close_tray(BlockBackend& backend) {
    TRY(check_removable(backend));
    if (has_tray(backend) && backend.callbacks().is_tray_open()) move_tray(backend, true);
    return {};
}

Status remove_medium(sim::Co& co, BlockBackend& backend) {
    TRY(check_removable(backend));
    if (has_tray(backend) && !backend.callbacks().is_tray_open())
        return failure(fmt::format("Tray of device '{}' is not open", shown_name(backend)));
    if (!backend.has_medium()) return {};
    TRY(backend.layer().check_blocked(*backend.node(), op_eject));
    // What the guest has under way ends first.
    const NodeRef medium(backend.node());
    const DrainedSection drained(co, {medium.get()});
    if (backend.node() == medium.get()) backend.remove();
    return {};
}

Status insert_medium(BlockBackend& backend, Node& node) {
    if (!removable(backend)) return failure("Device is not removable");
    if (has_tray(backend) && !backend.callbacks().is_tray_open())
        return failure("Tray of the device is not open");
    if (backend.has_medium()) return failure("There already is a medium in the device");
    return backend.insert(node);
}

Force force_of(const Value& arguments) {
    const Value* force = arguments.find("force");
    return force != nullptr && force->as_bool() ? Force::yes : Force::no;
}

Result<Value> eject(sim::Co& co, BlockLayer& layer, const Value& arguments) {
    BlockBackend& backend = *TRY(find_drive(layer, arguments));
    TRY(open_tray_or_fail(backend, force_of(arguments)));
    TRY(remove_medium(co, backend));
    return Value();
}

Result<Value> run_open_tray(sim::Co&, BlockLayer& layer, const Value& arguments) {
    TRY(open_tray(*TRY(find_drive(layer, arguments)), force_of(arguments)));
    return Value();
}

Result<Value> run_close_tray(sim::Co&, BlockLayer& layer, const Value& arguments) {
    TRY(close_tray(*TRY(find_drive(layer, arguments))));
    return Value();
}

Result<Value> run_remove_medium(sim::Co& co, BlockLayer& layer, const Value& arguments) {
    TRY(remove_medium(co, *TRY(find_drive(layer, arguments))));
    return Value();
}

Result<Value> run_insert_medium(sim::Co&, BlockLayer& layer, const Value& arguments) {
    BlockBackend& backend = *TRY(find_drive(layer, arguments));
    const std::string& name = arguments.at("node-name").as_string();
    Node* node = layer.find_node(name);
    if (node == nullptr) return failure(fmt::format("Node '{}' not found", name));
    for (const BlockBackend* other : layer.backends())
        if (other->node() == node) return failure(fmt::format("Node '{}' is already in use", name));
    TRY(insert_medium(backend, *node));
    return Value();
}

Result<Value> change_medium(sim::Co& co, BlockLayer& layer, const Value& arguments) {
    BlockBackend& backend = *TRY(find_drive(layer, arguments));
    const Value* mode = arguments.find("read-only-mode");
    const NodeFlags before = backend.medium_flags();
    bool read_only = before.read_only;
    if (mode != nullptr && mode->as_string() != "retain")
        read_only = mode->as_string() == "read-only";
    Value options = Value::dict({{"read-only", read_only}});
    if (const Value* format = arguments.find("format")) options.set("driver", *format);
    // Otherwise the new medium is opened as the one before it was.
    const NodeFlags as_before{.discard_unmap = before.discard_unmap,
                              .no_flush = before.no_flush,
                              .direct = before.direct};
    if (before.detect_zeroes != DetectZeroes::off) options.set("detect-zeroes", "on");
    // It stays only as long as the drive has it: the monitor does not own it.
    const NodeRef medium =
        TRY(layer.open_file(co, arguments.at("filename").as_string(), std::move(options),
                            as_before));
    BlockBackend& drive = *TRY(find_drive(layer, arguments));  // opening waited
    TRY(open_tray_or_fail(drive, force_of(arguments)));
    TRY(remove_medium(co, drive));
    TRY(insert_medium(drive, *medium));
    TRY(close_tray(drive));
    return Value();
}

const TypeRegistration change_mode_type({
    .name = "BlockdevChangeReadOnlyMode",
    .meta = TypeSpec::Meta::enumeration,
    .values = {"retain", "read-only", "read-write"},
});
const CommandRegistration registrations[] = {
    CommandRegistration(
        {.name = "eject",
         .args = {with_feature("deprecated", optional("device", "str")), optional("id", "str"),
                  optional("force", "bool")},
         .run = eject,
         .source = "QAPI block.json eject"}),
    CommandRegistration(
        {.name = "blockdev-open-tray",
         .args = {with_feature("deprecated", optional("device", "str")), optional("id", "str"),
                  optional("force", "bool")},
         .run = run_open_tray,
         .source = "QAPI block.json blockdev-open-tray"}),
    CommandRegistration({.name = "blockdev-close-tray",
                         .args = {with_feature("deprecated", optional("device", "str")),
                                  optional("id", "str")},
                         .run = run_close_tray,
                         .source = "QAPI block.json blockdev-close-tray"}),
    CommandRegistration({.name = "blockdev-remove-medium",
                         .args = {required("id", "str")},
                         .run = run_remove_medium,
                         .source = "QAPI block.json blockdev-remove-medium"}),
    CommandRegistration({.name = "blockdev-insert-medium",
                         .args = {required("id", "str"), required("node-name", "str")},
                         .run = run_insert_medium,
                         .source = "QAPI block.json blockdev-insert-medium"}),
    CommandRegistration(
        {.name = "blockdev-change-medium",
         .args = {with_feature("deprecated", optional("device", "str")), optional("id", "str"),
                  required("filename", "str"), optional("format", "str"), optional("force", "bool"),
                  optional("read-only-mode", "BlockdevChangeReadOnlyMode")},
         .run = change_medium,
         .source = "QAPI block.json blockdev-change-medium"}),
};

}  // namespace
}  // namespace hwmodels
