// SPDX-License-Identifier: Apache-2.0
// The registry of types, and checking of values against them.
//
// Members are visited in the schema's order, depth first, and the first fault is the answer. Faults
// of kind name the whole path ("file.locking", "inject-error[1].event"); a value outside an
// enumeration or a number's range, and an alternate without a fitting branch, are reported under
// the last name alone.
#include "blocklayer/options/schema.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <map>

#include "blocklayer/drivers/driver.hpp"
#include "blocklayer/options/member_order.hpp"
#include "blocklayer/options/open_union.hpp"
#include "sim/check.hpp"

namespace blocklayer {
namespace {

using Registry = std::map<std::string, TypeSpec, std::less<>>;

Registry& registry() {
    static Registry types;
    return types;
}

std::map<std::string, TypeSpec (*)(), std::less<>>& makers() {
    static std::map<std::string, TypeSpec (*)(), std::less<>> types;
    return types;
}

// Variants of registered unions, by the union's name and their own. Joined to them when a type is
// first asked for.
std::map<std::pair<std::string, std::string>, Variant>& open_variants() {
    static std::map<std::pair<std::string, std::string>, Variant> variants;
    return variants;
}

bool join_variants() {
    for (const auto& [key, variant] : open_variants()) {
        TypeSpec& joined = registry().at(key.first);
        const auto is_tag = [&](const MemberSpec& member) { return member.name == joined.tag; };
        const auto tag = std::find_if(joined.members.begin(), joined.members.end(), is_tag);
        joined.variants.push_back(variant);
        registry().at(tag->type).values.push_back(key.second);
    }
    return true;
}

// The union over all drivers there are; made when first asked for, after all have registered.
TypeSpec blockdev_options() {
    TypeSpec spec{
        .name = "BlockdevOptions",
        .members = {required("driver", "BlockdevDriver"), optional("node-name", "str"),
                    optional("discard", "BlockdevDiscardOptions"),
                    optional("cache", "BlockdevCacheOptions"), optional("read-only", "bool"),
                    optional("auto-read-only", "bool"), optional("force-share", "bool"),
                    optional("detect-zeroes", "BlockdevDetectZeroesOptions")},
        .tag = "driver"};
    for (const DriverSpec* driver : all_drivers())
        spec.variants.push_back({driver->name, driver->options, driver->features});
    return spec;
}

TypeSpec blockdev_create_options() {
    TypeSpec spec{.name = "BlockdevCreateOptions",
                  .members = {required("driver", "BlockdevDriver")},
                  .tag = "driver"};
    for (const DriverSpec* driver : all_drivers())
        if (driver->create != nullptr)
            spec.variants.push_back({driver->name, driver->create_options});
    return spec;
}

TypeSpec blockdev_driver() {
    TypeSpec spec{.name = "BlockdevDriver", .meta = TypeSpec::Meta::enumeration};
    for (const DriverSpec* driver : all_drivers()) spec.values.push_back(driver->name);
    // By name, but for one that the reference keeps where it was first put.
    const auto key = [](const std::string& name) {
        return name == "snapshot-access" ? "file+" : name;
    };
    std::sort(spec.values.begin(), spec.values.end(),
              [&](const auto& a, const auto& b) { return key(a) < key(b); });
    return spec;
}

const DerivedTypeRegistration options_type("BlockdevOptions", blockdev_options);
const DerivedTypeRegistration create_type("BlockdevCreateOptions", blockdev_create_options);
const DerivedTypeRegistration driver_type("BlockdevDriver", blockdev_driver);

// What a built-in accepts. The kind's name is what messages expect.
struct Builtin {
    std::string_view name;
    enum class Kind : std::uint8_t {
        string,
        integer,
        unsigned_integer,
        number,
        boolean,
        null,
        any
    };
    Kind kind;
    std::int64_t least = std::numeric_limits<std::int64_t>::min();
    std::int64_t greatest = std::numeric_limits<std::int64_t>::max();
};

constexpr Builtin builtins[] = {
    {"str", Builtin::Kind::string},
    {"int", Builtin::Kind::integer},
    {"int8", Builtin::Kind::integer, INT8_MIN, INT8_MAX},
    {"int16", Builtin::Kind::integer, INT16_MIN, INT16_MAX},
    {"int32", Builtin::Kind::integer, INT32_MIN, INT32_MAX},
    {"int64", Builtin::Kind::integer},
    {"uint8", Builtin::Kind::unsigned_integer, 0, UINT8_MAX},
    {"uint16", Builtin::Kind::unsigned_integer, 0, UINT16_MAX},
    {"uint32", Builtin::Kind::unsigned_integer, 0, UINT32_MAX},
    {"uint64", Builtin::Kind::unsigned_integer},
    {"size", Builtin::Kind::unsigned_integer},
    {"number", Builtin::Kind::number},
    {"bool", Builtin::Kind::boolean},
    {"null", Builtin::Kind::null},
    {"any", Builtin::Kind::any},
};

const Builtin* find_builtin(std::string_view name) {
    const auto* found = std::find_if(std::begin(builtins), std::end(builtins),
                                     [&](const Builtin& builtin) { return builtin.name == name; });
    return found == std::end(builtins) ? nullptr : found;
}

std::string_view expected_name(Builtin::Kind kind) {
    switch (kind) {
    case Builtin::Kind::string: return "string";
    case Builtin::Kind::integer:
    case Builtin::Kind::unsigned_integer: return "integer";
    case Builtin::Kind::number: return "number";
    case Builtin::Kind::boolean: return "boolean";
    case Builtin::Kind::null: return "null";
    case Builtin::Kind::any: return "any";
    }
    return "";
}

bool is_of_kind(const Value& value, Builtin::Kind kind) {
    switch (kind) {
    case Builtin::Kind::string: return value.is_string();
    case Builtin::Kind::integer: return value.is_int();
    case Builtin::Kind::unsigned_integer: return value.is_int() || value.is_uint();
    case Builtin::Kind::number: return value.is_int() || value.is_uint() || value.is_double();
    case Builtin::Kind::boolean: return value.is_bool();
    case Builtin::Kind::null: return value.is_null();
    case Builtin::Kind::any: return true;
    }
    return false;
}

// Commands run on small stacks, and what follows the check recurses as deeply as the value does.
constexpr int depth_max = 100;

// Where a value stands: the whole path for most messages, its last name for some. Said only when
// something is wrong, so a place is a link to the one above it.
struct Place {
    const Place* above = nullptr;
    std::string_view name;
    std::string_view top;      // the path of a place with none above
    std::int64_t index = -1;   // of an item of a list
    int depth = 0;

    Place member(std::string_view member) const {
        return {.above = this, .name = member, .depth = depth + 1};
    }
    Place item(std::size_t number) const {
        return {.above = this,
                .name = "null",
                .index = static_cast<std::int64_t>(number),
                .depth = depth + 1};
    }
    std::string path() const {
        if (above == nullptr) return std::string(top);
        std::string path = above->path();
        if (index >= 0) return fmt::format("{}[{}]", path, index);
        if (!path.empty()) path += '.';
        return path += name;
    }
};

Status wrong_type(std::string_view name, std::string_view expected) {
    return failure(fmt::format("Invalid parameter type for '{}', expected: {}", name, expected));
}

Status check_in(const Value& value, std::string_view type, const Place& place);

Status check_builtin(const Value& value, const Builtin& builtin, const Place& place) {
    if (!is_of_kind(value, builtin.kind)) {
        if (builtin.kind == Builtin::Kind::unsigned_integer)
            return failure(fmt::format("Parameter '{}' expects uint64", place.path()));
        return wrong_type(place.path(), expected_name(builtin.kind));
    }
    const bool bounded = builtin.greatest != std::numeric_limits<std::int64_t>::max();
    if (bounded &&
        (value.is_uint() || value.as_int() < builtin.least || value.as_int() > builtin.greatest))
        return failure(fmt::format("Parameter '{}' expects {}_t", place.name, builtin.name));
    return {};
}

Status check_list(const Value& value, std::string_view element, const Place& place) {
    if (!value.is_list()) return wrong_type(place.path(), "array");
    std::size_t index = 0;
    for (const Value& item : value.items()) TRY(check_in(item, element, place.item(index++)));
    return {};
}

Status check_given(const Value& value, const std::vector<MemberSpec>& members,
                   const Place& place) {
    for (const MemberSpec& member : members) {
        const Value* given = value.find(member.name);
        const Place there = place.member(member.name);
        if (given != nullptr)
            TRY(check_in(*given, member.type, there));
        else if (member.required)
            return failure(fmt::format("Parameter '{}' is missing", there.path()));
    }
    return {};
}

using MemberLists = std::array<const std::vector<MemberSpec>*, 2>;  // nullptr: none

Status refuse_rest(const Value& value, const MemberLists& lists, const Place& place) {
    std::vector<std::string_view> names, known;
    for (const Value::Member* member : wire_order(value)) names.push_back(member->first);
    for (const auto* members : lists)
        if (members != nullptr)
            for (const MemberSpec& member : *members) known.push_back(member.name);
    const auto unexpected = first_left_over(names, known);
    INVARIANT(unexpected.has_value());
    return failure(
        fmt::format("Parameter '{}' is unexpected", place.member(*unexpected).path()));
}

Status check_rest(const Value& value, const MemberLists& lists, const Place& place) {
    const auto is_known = [&](const Value::Member& given) {
        return std::any_of(lists.begin(), lists.end(), [&](const auto* members) {
            return members != nullptr &&
                   std::any_of(members->begin(), members->end(), [&](const MemberSpec& member) {
                       return member.name == given.first;
                   });
        });
    };
    const auto& members = value.members();
    if (std::all_of(members.begin(), members.end(), is_known)) return {};
    return refuse_rest(value, lists, place);
}

Status check_object(const Value& value, const TypeSpec& spec, const Place& place) {
    if (!value.is_dict()) return wrong_type(place.path(), "object");
    TRY(check_given(value, spec.members, place));
    MemberLists lists{&spec.members, nullptr};
    const Value* tag = spec.tag.empty() ? nullptr : value.find(spec.tag);
    if (tag != nullptr && tag->is_string()) {
        const auto variant = std::find_if(
            spec.variants.begin(), spec.variants.end(),
            [&](const Variant& candidate) { return candidate.value == tag->as_string(); });
        if (variant != spec.variants.end()) {
            TRY(check_given(value, variant->members, place));
            lists[1] = &variant->members;
        }
    }
    return check_rest(value, lists, place);
}

// The branch of an alternate whose JSON kind is the value's: kinds tell branches apart.
const MemberSpec* fitting_branch(const Value& value, const TypeSpec& alternate) {
    for (const MemberSpec& branch : alternate.members) {
        if (const Builtin* builtin = find_builtin(branch.type)) {
            if (is_of_kind(value, builtin->kind)) return &branch;
            continue;
        }
        const TypeSpec* spec = find_type(branch.type);
        INVARIANT(spec != nullptr);
        if (spec->meta == TypeSpec::Meta::enumeration ? value.is_string() : value.is_dict())
            return &branch;
    }
    return nullptr;
}

Status check_in(const Value& value, std::string_view type, const Place& place) {
    if (place.depth > depth_max)
        return failure(fmt::format("Parameter '{}' is nested too deeply", place.path()));
    if (type.starts_with('[')) return check_list(value, type.substr(1, type.size() - 2), place);
    if (const Builtin* builtin = find_builtin(type)) return check_builtin(value, *builtin, place);

    const TypeSpec* spec = find_type(type);
    INVARIANT(spec != nullptr);
    switch (spec->meta) {
    case TypeSpec::Meta::object: return check_object(value, *spec, place);
    case TypeSpec::Meta::alternate: {
        const MemberSpec* branch = fitting_branch(value, *spec);
        if (branch == nullptr) return wrong_type(place.name, spec->name);
        return check_in(value, branch->type, place);
    }
    case TypeSpec::Meta::enumeration:
        if (!value.is_string()) return wrong_type(place.path(), "string");
        if (std::find(spec->values.begin(), spec->values.end(), value.as_string()) ==
            spec->values.end())
            return failure(fmt::format("Parameter '{}' does not accept value '{}'", place.name,
                                       value.as_string()));
        return {};
    }
    return {};
}

Place place_of(std::string_view path) {
    const std::size_t dot = path.rfind('.');
    return {.name = dot == std::string_view::npos ? path : path.substr(dot + 1), .top = path};
}

}  // namespace

TypeRegistration::TypeRegistration(TypeSpec spec) {
    std::string name = spec.name;
    const bool is_new = registry().emplace(std::move(name), std::move(spec)).second;
    EXPECTS(is_new);
}

DerivedTypeRegistration::DerivedTypeRegistration(std::string name, TypeSpec (*make)()) {
    const bool is_new = makers().emplace(std::move(name), make).second;
    EXPECTS(is_new);
}

VariantRegistration::VariantRegistration(std::string union_name, Variant variant) {
    std::pair<std::string, std::string> key(std::move(union_name), variant.value);
    const bool is_new = open_variants().emplace(std::move(key), std::move(variant)).second;
    EXPECTS(is_new);
}

const TypeSpec* find_type(std::string_view name) {
    [[maybe_unused]] static const bool joined = join_variants();
    // Made when first asked for, after everything has registered.
    static const Registry derived = [] {
        Registry types;
        for (const auto& [key, make] : makers()) types.emplace(key, make());
        return types;
    }();
    const auto found = registry().find(name);
    if (found != registry().end()) return &found->second;
    const auto made = derived.find(name);
    return made == derived.end() ? nullptr : &made->second;
}

std::vector<const TypeSpec*> all_types() {
    std::vector<const TypeSpec*> types;
    static_cast<void>(find_type(""));  // nothing is missing any more
    for (const auto& [name, spec] : registry()) types.push_back(&spec);
    for (const auto& [name, make] : makers()) types.push_back(find_type(name));
    std::sort(types.begin(), types.end(),
              [](const TypeSpec* a, const TypeSpec* b) { return a->name < b->name; });
    return types;
}

Status check_value(const Value& value, std::string_view type, std::string_view path) {
    return check_in(value, type, place_of(path));
}

Status check_members(const Value& value, const std::vector<MemberSpec>& members,
                     std::string_view path) {
    const Place place = place_of(path);
    if (!value.is_dict()) return wrong_type(place.path(), "object");
    TRY(check_given(value, members, place));
    return check_rest(value, {&members, nullptr}, place);
}

}  // namespace blocklayer
