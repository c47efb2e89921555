// SPDX-License-Identifier: Apache-2.0
// Schema: the shape of options, arguments and replies, written once, used for checking input, for
// query-qmp-schema, for command lines, for the Python stubs and the reference docs.
//
// A type is named: the built-ins "str", "int", "number", "bool", "null", "any", "size", "int32",
// "uint32" ...; a registered enum, struct, union or alternate; "[T]" is a list of T.
// source  QAPI: docs/devel/qapi-code-gen of the reference describes the language and the wire
// forms.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "blocklayer/errors.hpp"
#include "blocklayer/value.hpp"

namespace blocklayer {

struct MemberSpec {
    std::string name;
    std::string type;
    bool required = false;
    std::string help;
    std::vector<std::string> features = {};  // "unstable", "deprecated": shown to clients
};

inline MemberSpec required(std::string name, std::string type, std::string help = "") {
    return {std::move(name), std::move(type), true, std::move(help)};
}
inline MemberSpec optional(std::string name, std::string type, std::string help = "") {
    return {std::move(name), std::move(type), false, std::move(help)};
}
inline MemberSpec with_feature(std::string feature, MemberSpec member) {
    member.features.push_back(std::move(feature));
    return member;
}

struct Variant {  // members that come with one value of a union's discriminator
    std::string value;
    std::vector<MemberSpec> members;
    std::vector<std::string> features = {};
};

struct TypeSpec {
    enum class Meta : std::uint8_t { enumeration, object, alternate };
    std::string name;
    Meta meta = Meta::object;
    std::vector<std::string> values;  // enumeration, in the reference's order
    std::vector<MemberSpec> members;  // object; alternate: the branches (name, type)
    std::string tag;                  // object: the member that selects a variant; empty: none
    std::vector<Variant> variants;
};

// A static object of this type makes a type known. Two of one name stop the program.
class TypeRegistration {
public:
    explicit TypeRegistration(TypeSpec spec);
};

// A type made of what else is registered: its spec is asked for when the program runs.
class DerivedTypeRegistration {
public:
    DerivedTypeRegistration(std::string name, TypeSpec (*make)());
};

const TypeSpec* find_type(std::string_view name);
std::vector<const TypeSpec*> all_types();  // sorted by name

// Checks a value against a type and says what is wrong as the reference does:
// "Parameter 'x' is missing", "Invalid parameter type for 'x', expected: string",
// "Parameter 'x' is unexpected" ... `path` is the parameter's name so far, "" at the top.
Status check_value(const Value& value, std::string_view type, std::string_view path = "");
// The same for an object made of these members (a command's arguments).
Status check_members(const Value& value, const std::vector<MemberSpec>& members,
                     std::string_view path = "");

}  // namespace blocklayer
