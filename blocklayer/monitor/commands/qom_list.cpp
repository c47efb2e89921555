// SPDX-License-Identifier: Apache-2.0
// qom-list, qom-get, qom-set.
#include <fmt/format.h>

#include <algorithm>

#include "blocklayer/monitor/command.hpp"
#include "blocklayer/monitor/qom.hpp"

namespace blocklayer {
namespace {

const TypeRegistration property_info({.name = "ObjectPropertyInfo",
                                      .members = {required("name", "str"), required("type", "str"),
                                                  optional("description", "str"),
                                                  optional("default-value", "any")}});

Result<QomObject> object_at(BlockLayer& layer, const Value& arguments) {
    return resolve_qom_path(layer, arguments.at("path").as_string());
}

Result<const QomProperty*> property_of(const QomObject& object, const Value& arguments) {
    const std::string& name = arguments.at("property").as_string();
    const auto found =
        std::find_if(object.properties.begin(), object.properties.end(),
                     [&](const QomProperty& property) { return property.name == name; });
    if (found == object.properties.end())
        return failure(fmt::format("Property '{}.{}' not found", object.type, name));
    return &*found;
}

Result<Value> qom_list(sim::Co&, BlockLayer& layer, const Value& arguments) {
    const QomObject object = TRY(object_at(layer, arguments));
    Value list = Value::list({Value::dict({{"name", "type"}, {"type", "string"}})});
    for (const QomProperty& property : object.properties)
        list.push(Value::dict({{"name", Value(property.name)}, {"type", Value(property.type)}}));
    return list;
}

Result<Value> qom_get(sim::Co&, BlockLayer& layer, const Value& arguments) {
    const QomObject object = TRY(object_at(layer, arguments));
    if (arguments.at("property").as_string() == "type") return Value(object.type);
    const QomProperty* property = TRY(property_of(object, arguments));
    if (!property->get)
        return failure(
            fmt::format("Property '{}.{}' is not readable", object.type, property->name));
    return property->get();
}

Result<Value> qom_set(sim::Co& co, BlockLayer& layer, const Value& arguments) {
    const QomObject object = TRY(object_at(layer, arguments));
    const QomProperty* property = nullptr;
    if (arguments.at("property").as_string() != "type")
        property = TRY(property_of(object, arguments));
    if (property == nullptr || !property->set)
        return failure(fmt::format("Property '{}.{}' is not writable", object.type,
                                   arguments.at("property").as_string()));
    TRY(property->set(co, arguments.at("value")));
    return Value();
}

const CommandRegistration list({.name = "qom-list",
                                .args = {required("path", "str")},
                                .returns = "[ObjectPropertyInfo]",
                                .run = qom_list,
                                .source = "QAPI qom.json"});
const CommandRegistration get({.name = "qom-get",
                               .args = {required("path", "str"), required("property", "str")},
                               .returns = "any",
                               .run = qom_get,
                               .source = "QAPI qom.json"});
const CommandRegistration set({.name = "qom-set",
                               .args = {required("path", "str"), required("property", "str"),
                                        required("value", "any")},
                               .run = qom_set,
                               .source = "QAPI qom.json"});

}  // namespace
}  // namespace blocklayer
