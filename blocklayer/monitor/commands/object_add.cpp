// SPDX-License-Identifier: Apache-2.0
// object-add, object-del and the objects' place in the tree.
#include <fmt/format.h>

#include <algorithm>

#include "blocklayer/layer.hpp"
#include "blocklayer/monitor/command.hpp"
#include "blocklayer/monitor/object.hpp"
#include "blocklayer/options/member_order.hpp"

namespace blocklayer {
namespace {

const TypeRegistration types({.name = "ObjectType", .meta = TypeSpec::Meta::enumeration});
const TypeRegistration options(
    {.name = "ObjectOptions",
     .members = {required("qom-type", "ObjectType"), required("id", "str")},
     .tag = "qom-type"});

bool is_identifier(std::string_view text) {
    const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
    if (text.empty() || !letter(text[0])) return false;
    return std::all_of(text.begin(), text.end(), [&](char c) {
        return letter(c) || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
    });
}

Result<Value> object_add(sim::Co&, BlockLayer& layer, const Value& arguments) {
    const std::string& id = arguments.at("id").as_string();
    if (!is_identifier(id)) return failure("Parameter 'id' expects an identifier");
    const ObjectKind* kind = find_object_kind(arguments.at("qom-type").as_string());
    EXPECTS(kind != nullptr);
    if (find_object(layer, id) != nullptr)
        return failure(
            fmt::format("attempt to add duplicate property '{}' to object (type 'container')", id));
    TRY(kind->create(layer, id, arguments));
    objects(layer).emplace_back(id, kind);
    return Value();
}

Result<Value> object_del(sim::Co&, BlockLayer& layer, const Value& arguments) {
    const std::string& id = arguments.at("id").as_string();
    const ObjectKind* kind = find_object(layer, id);
    if (kind == nullptr) return failure(fmt::format("object '{}' not found", id));
    if (kind->in_use(layer, id))
        return failure(fmt::format("object '{}' is in use, can not be deleted", id));
    kind->remove(layer, id);
    std::erase_if(objects(layer), [&](const auto& object) { return object.first == id; });
    return Value();
}

// The machine's memory is an object as well, and listed although nothing here uses it.
QomObject list_objects(BlockLayer& layer) {
    std::vector<std::string_view> names{"pc.ram"};
    for (const auto& [id, kind] : objects(layer)) names.push_back(id);
    QomObject object{.type = "container"};
    std::vector<std::string_view> order = hash_order(names);
    std::reverse(order.begin(), order.end());
    for (const std::string_view name : order) {
        const ObjectKind* kind = find_object(layer, name);
        object.properties.push_back(
            {.name = std::string(name),
             .type = fmt::format("child<{}>", kind != nullptr ? kind->name : "memory-backend-ram"),
             .get = [name = std::string(name)] { return Result<Value>("/objects/" + name); }});
    }
    return object;
}

std::optional<QomObject> resolve(BlockLayer& layer, std::string_view path) {
    const auto without = [](std::string_view text, std::string_view prefix) {
        return text.starts_with(prefix) ? text.substr(prefix.size()) : text;
    };
    if (path == "/objects" || path == "objects") return list_objects(layer);
    if (path.starts_with('/') && !path.starts_with("/objects/")) return std::nullopt;
    const std::string_view id = without(without(path, "/"), "objects/");
    const ObjectKind* kind = find_object(layer, id);
    if (kind == nullptr) return std::nullopt;
    return kind->describe(layer, id);
}

const QomRegistration tree(resolve);
const CommandRegistration add({.name = "object-add",
                               .args_type = "ObjectOptions",
                               .run = object_add,
                               .source = "QAPI qom.json"});
const CommandRegistration del({.name = "object-del",
                               .args = {required("id", "str")},
                               .run = object_del,
                               .source = "QAPI qom.json"});

}  // namespace
}  // namespace blocklayer
