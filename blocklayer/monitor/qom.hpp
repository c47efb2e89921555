// SPDX-License-Identifier: Apache-2.0
// The object tree as qom-list, qom-get and qom-set see it. Each room that has objects registers a
// function that resolves the paths it knows.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "blocklayer/errors.hpp"
#include "blocklayer/value.hpp"
#include "sim/co.hpp"

namespace blocklayer {

class BlockLayer;

struct QomProperty {
    std::string name;
    std::string type;  // "int", "child<iothread>"
    std::function<Result<Value>()> get = {};
    std::function<Status(sim::Co&, const Value&)> set = {};
};

struct QomObject {
    std::string type;
    std::vector<QomProperty> properties;  // in the order listed, after "type"
};

// nullopt: not an object of this room. A path without a leading '/' may begin at any level.
using QomResolve = std::optional<QomObject> (*)(BlockLayer&, std::string_view path);

class QomRegistration {
public:
    explicit QomRegistration(QomResolve resolve);
};

// errors: device_not_found "Device 'x' not found"
Result<QomObject> resolve_qom_path(BlockLayer& layer, std::string_view path);

}  // namespace blocklayer
