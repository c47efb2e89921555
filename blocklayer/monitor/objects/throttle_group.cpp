// SPDX-License-Identifier: Apache-2.0
// The object throttle-group: limits that throttle nodes share.
//
// source  QAPI ThrottleGroupProperties; texts as observed
#include <fmt/format.h>

#include "blocklayer/layer.hpp"
#include "blocklayer/monitor/object.hpp"
#include "blocklayer/requests/throttle_group.hpp"

namespace blocklayer {
namespace {

std::vector<MemberSpec> members(std::string_view prefix) {
    std::vector<MemberSpec> specs;
    for (const ThrottleMember& member : throttle_members())
        specs.push_back(optional(fmt::format("{}{}", prefix, member.name), "int"));
    return specs;
}

std::vector<MemberSpec> options() {
    std::vector<MemberSpec> specs = members("x-");
    for (MemberSpec& spec : specs) spec.features.emplace_back("unstable");
    specs.insert(specs.begin(), optional("limits", "ThrottleLimits"));
    return specs;
}

const TypeRegistration limits_type({.name = "ThrottleLimits", .members = members("")});

Status create(BlockLayer& layer, const std::string& id, const Value& options) {
    ThrottleLimits limits;
    for (const ThrottleMember& member : throttle_members()) {
        const Value* value = options.find(fmt::format("x-{}", member.name));
        if (value == nullptr) continue;
        if (value->as_int() < 0) return failure("Property values cannot be negative");
        *member.place(limits) = value->as_int();
    }
    if (const Value* given = options.find("limits")) TRY(limits.apply(*given));
    TRY(limits.check());
    auto group = std::make_shared<ThrottleGroup>(layer.world(), id);
    group->set_limits(limits);
    throttle_groups(layer).emplace(id, std::move(group));
    return {};
}

bool in_use(BlockLayer& layer, std::string_view id) {
    return find_throttle_group(layer, id)->in_use();
}

void remove(BlockLayer& layer, std::string_view id) {
    ThrottleGroups& groups = throttle_groups(layer);
    groups.erase(groups.find(id));
}

// In the order qom-list has them.
constexpr std::string_view property_order[] = {"x-bps-write-max-length",
                                               "x-iops-total-max-length",
                                               "x-iops-size",
                                               "limits",
                                               "x-bps-total",
                                               "x-iops-read-max-length",
                                               "x-bps-write",
                                               "x-iops-write-max-length",
                                               "x-bps-read-max",
                                               "x-iops-read-max",
                                               "x-bps-total-max",
                                               "x-bps-read-max-length",
                                               "x-iops-read",
                                               "x-bps-read",
                                               "x-bps-write-max",
                                               "x-iops-total-max",
                                               "x-iops-total",
                                               "x-iops-write",
                                               "x-bps-total-max-length",
                                               "x-iops-write-max"};

QomProperty limits_property(const std::shared_ptr<ThrottleGroup>& group) {
    return {.name = "limits",
            .type = "ThrottleLimits",
            .get = [group] { return Result<Value>(group->limits().to_value()); },
            .set = [group](sim::Co&, const Value& value) -> Status {
                TRY(check_value(value, "ThrottleLimits", "limits"));
                ThrottleLimits limits = group->limits();
                TRY(limits.apply(value));
                group->set_limits(limits);
                return {};
            }};
}

QomObject describe(BlockLayer& layer, std::string_view id) {
    const std::shared_ptr<ThrottleGroup> group = find_throttle_group(layer, id);
    QomObject object{.type = "throttle-group"};
    for (const std::string_view name : property_order) {
        if (name == "limits") {
            object.properties.push_back(limits_property(group));
            continue;
        }
        object.properties.push_back(
            {.name = std::string(name),
             .type = "int",
             .get = [group,
                     name] { return Result<Value>(group->limits().to_value().at(name.substr(2))); },
             .set = [](sim::Co&, const Value&) -> Status {
                 return failure("Property cannot be set after initialization");
             }});
    }
    return object;
}

const ObjectRegistration registration({.name = "throttle-group",
                                       .options = options(),
                                       .create = create,
                                       .in_use = in_use,
                                       .remove = remove,
                                       .describe = describe});

}  // namespace
}  // namespace blocklayer
