// SPDX-License-Identifier: Apache-2.0
#include "blocklayer/monitor/command.hpp"
#include "blocklayer/monitor/version.hpp"

namespace blocklayer {

Value version_info() {
    return Value::dict({{"qemu", Value::dict({{"major", 7}, {"minor", 2}, {"micro", 22}})},
                        {"package", "blockstep"}});
}

namespace {

const TypeRegistration triple({.name = "VersionTriple",
                               .members = {required("major", "int"), required("minor", "int"),
                                           required("micro", "int")}});
const TypeRegistration info({.name = "VersionInfo",
                             .members = {required("qemu", "VersionTriple"),
                                         required("package", "str")}});

Result<Value> query_version(sim::Co&, BlockLayer&, const Value&) { return version_info(); }

const CommandRegistration registration({.name = "query-version",
                                        .returns = "VersionInfo",
                                        .run = query_version,
                                        .source = "QAPI control.json"});

}  // namespace
}  // namespace blocklayer
