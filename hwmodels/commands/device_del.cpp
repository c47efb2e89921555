// SPDX-License-Identifier: Apache-2.0
// device_del: take a device out, or ask the guest to let it go.
//
// source  QAPI qdev.json; error texts as the real program gives them.
#include "blocklayer/monitor/command.hpp"
#include "hwmodels/machine.hpp"

namespace hwmodels {
namespace {

using namespace blocklayer;

Result<Value> device_del(sim::Co& co, BlockLayer& layer, const Value& arguments) {
    TRY(Machine::of(layer).remove_device(co, arguments.at("id").as_string()));
    return Value();
}

const CommandRegistration registration({
    .name = "device_del",
    .args = {required("id", "str", "the device's id or path")},
    .run = device_del,
    .source = "QAPI qdev.json device_del",
});

}  // namespace
}  // namespace hwmodels
