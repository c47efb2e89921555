// SPDX-License-Identifier: Apache-2.0
// device_add: plug a device in.
//
// source  QAPI qdev.json; error texts as the real program gives them.
#include "blocklayer/monitor/command.hpp"
#include "hwmodels/machine.hpp"

namespace hwmodels {
namespace {

using namespace blocklayer;

Result<Value> device_add(sim::Co& co, BlockLayer& layer, const Value& arguments) {
    TRY(Machine::of(layer).add_device(co, arguments));
    return Value();
}

const CommandRegistration registration({
    .name = "device_add",
    .args = {required("driver", "str"), optional("bus", "str"), optional("id", "str")},
    .run = device_add,
    .any_arguments = true,
    .source = "QAPI qdev.json device_add",
    .features = {"json-cli", "json-cli-hotplug"},
});

}  // namespace
}  // namespace hwmodels
