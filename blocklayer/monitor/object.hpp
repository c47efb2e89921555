// SPDX-License-Identifier: Apache-2.0
// Objects that object-add makes: each kind is one file that registers itself.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "blocklayer/errors.hpp"
#include "blocklayer/monitor/qom.hpp"
#include "blocklayer/options/schema.hpp"
#include "blocklayer/value.hpp"

namespace blocklayer {

class BlockLayer;

struct ObjectKind {
    std::string name;                 // QAPI ObjectType
    std::vector<MemberSpec> options;  // besides qom-type and id
    Status (*create)(BlockLayer& layer, const std::string& id, const Value& options);
    bool (*in_use)(BlockLayer& layer, std::string_view id);
    void (*remove)(BlockLayer& layer, std::string_view id);
    QomObject (*describe)(BlockLayer& layer, std::string_view id);
};

class ObjectRegistration {
public:
    explicit ObjectRegistration(ObjectKind kind);
};

const ObjectKind* find_object_kind(std::string_view name);

// The objects there are, oldest first.
using ObjectList = std::vector<std::pair<std::string, const ObjectKind*>>;
ObjectList& objects(BlockLayer& layer);
const ObjectKind* find_object(BlockLayer& layer, std::string_view id);  // nullptr: none

}  // namespace blocklayer
