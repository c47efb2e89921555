// SPDX-License-Identifier: Apache-2.0
#include "blocklayer/monitor/object.hpp"

#include <algorithm>
#include <map>

#include "blocklayer/layer.hpp"
#include "blocklayer/options/open_union.hpp"
#include "sim/check.hpp"

namespace blocklayer {
namespace {

std::map<std::string, ObjectKind, std::less<>>& registry() {
    static std::map<std::string, ObjectKind, std::less<>> kinds;
    return kinds;
}

}  // namespace

ObjectRegistration::ObjectRegistration(ObjectKind kind) {
    const VariantRegistration variant("ObjectOptions", {kind.name, kind.options});
    std::string name = kind.name;
    const bool is_new = registry().emplace(std::move(name), std::move(kind)).second;
    EXPECTS(is_new);
}

const ObjectKind* find_object_kind(std::string_view name) {
    const auto found = registry().find(name);
    return found == registry().end() ? nullptr : &found->second;
}

ObjectList& objects(BlockLayer& layer) {
    std::any& place = layer.extensions["objects"];
    if (!place.has_value()) place = std::make_shared<ObjectList>();
    return *std::any_cast<std::shared_ptr<ObjectList>&>(place);
}

const ObjectKind* find_object(BlockLayer& layer, std::string_view id) {
    const ObjectList& list = objects(layer);
    const auto found = std::find_if(list.begin(), list.end(),
                                    [&](const auto& object) { return object.first == id; });
    return found == list.end() ? nullptr : found->second;
}

}  // namespace blocklayer
