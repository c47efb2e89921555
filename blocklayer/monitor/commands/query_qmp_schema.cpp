// SPDX-License-Identifier: Apache-2.0
// query-qmp-schema: everything that is registered. Types have numbers for names, given when they
// are first mentioned; commands and events come first.
#include <deque>
#include <functional>
#include <map>

#include "blocklayer/monitor/command.hpp"
#include "blocklayer/monitor/event.hpp"
#include "sim/check.hpp"

namespace blocklayer {
namespace {

// Narrow integers are all "int" on the wire.
std::string_view builtin_name(std::string_view type) {
    if (type == "str" || type == "number" || type == "bool" || type == "null" || type == "any")
        return type;
    for (const std::string_view integer :
         {"int", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "size"})
        if (type == integer) return "int";
    return {};
}

std::string_view json_type(std::string_view builtin) {
    if (builtin == "str") return "string";
    if (builtin == "bool") return "boolean";
    if (builtin == "any") return "value";
    return builtin;
}

void set_features(Value& entry, const std::vector<std::string>& features) {
    if (features.empty()) return;
    Value list = Value::list();
    for (const std::string& feature : features) list.push(feature);
    entry.set("features", std::move(list));
}

class Describer {
public:
    Value describe() {
        Value list = Value::list();
        for (const CommandSpec* command : all_commands()) {
            Value entry = Value::dict({{"name", Value(command->name)}, {"meta-type", "command"}});
            entry.set("arg-type", command->args_type.empty() ? members_type(command->args)
                                                             : type(command->args_type));
            entry.set("ret-type",
                      command->returns.empty() ? members_type({}) : type(command->returns));
            set_features(entry, command->features);
            list.push(std::move(entry));
        }
        for (const EventSpec* event : all_events())
            list.push(Value::dict({{"name", Value(event->name)},
                                   {"meta-type", "event"},
                                   {"arg-type", Value(members_type(event->data))}}));
        // Describing one may mention more.
        while (!waiting_.empty()) {
            const auto next = waiting_.front();
            waiting_.pop_front();
            list.push(next(*this));
        }
        return list;
    }

private:
    using Later = std::function<Value(Describer&)>;

    std::string number() { return std::to_string(count_++); }

    // The wire name of a type; queues its description when it is new.
    std::string type(const std::string& name) {
        if (name.starts_with('[')) return list_type(name);
        if (const std::string_view builtin = builtin_name(name); !builtin.empty())
            return builtin_type(std::string(builtin));
        const auto [place, is_new] = names_.try_emplace(name);
        if (is_new) {
            place->second = number();
            const TypeSpec* spec = find_type(name);
            INVARIANT(spec != nullptr);
            waiting_.push_back([spec, wire = place->second](Describer& self) {
                return self.type_entry(*spec, wire);
            });
        }
        return place->second;
    }

    std::string builtin_type(const std::string& name) {
        if (names_.try_emplace(name, name).second)
            waiting_.push_back([name](Describer&) {
                return Value::dict({{"name", Value(name)},
                                    {"meta-type", "builtin"},
                                    {"json-type", Value(json_type(name))}});
            });
        return name;
    }

    std::string list_type(const std::string& name) {
        const std::string element = type(name.substr(1, name.size() - 2));
        const std::string wire = "[" + element + "]";
        if (names_.try_emplace(wire, wire).second)
            waiting_.push_back([wire, element](Describer&) {
                return Value::dict({{"name", Value(wire)},
                                    {"meta-type", "array"},
                                    {"element-type", Value(element)}});
            });
        return wire;
    }

    // An object without a name of its own. The empty one exists once.
    std::string members_type(const std::vector<MemberSpec>& members,
                             const std::vector<std::string>& features = {}) {
        if (members.empty() && !empty_.empty()) return empty_;
        const std::string wire = number();
        if (members.empty()) empty_ = wire;
        waiting_.push_back([members, features, wire](Describer& self) {
            Value entry = Value::dict({{"name", Value(wire)},
                                       {"meta-type", "object"},
                                       {"members", self.member_list(members)}});
            set_features(entry, features);
            return entry;
        });
        return wire;
    }

    Value member_list(const std::vector<MemberSpec>& members) {
        Value list = Value::list();
        for (const MemberSpec& member : members) {
            Value entry =
                Value::dict({{"name", Value(member.name)}, {"type", Value(type(member.type))}});
            if (!member.required) entry.set("default", Value());
            set_features(entry, member.features);
            list.push(std::move(entry));
        }
        return list;
    }

    Value type_entry(const TypeSpec& spec, const std::string& wire) {
        Value entry = Value::dict({{"name", Value(wire)}});
        switch (spec.meta) {
        case TypeSpec::Meta::enumeration: {
            Value members = Value::list(), values = Value::list();
            for (const std::string& value : spec.values) {
                members.push(Value::dict({{"name", Value(value)}}));
                values.push(value);
            }
            entry.set("meta-type", "enum");
            entry.set("members", std::move(members));
            entry.set("values", std::move(values));
            return entry;
        }
        case TypeSpec::Meta::alternate: {
            Value members = Value::list();
            for (const MemberSpec& branch : spec.members)
                members.push(Value::dict({{"type", Value(type(branch.type))}}));
            entry.set("meta-type", "alternate");
            entry.set("members", std::move(members));
            return entry;
        }
        case TypeSpec::Meta::object: break;
        }
        entry.set("meta-type", "object");
        entry.set("members", member_list(spec.members));
        if (!spec.tag.empty()) {
            Value variants = Value::list();
            for (const Variant& variant : spec.variants)
                variants.push(Value::dict({{"case", Value(variant.value)},
                                           {"type", Value(members_type(variant.members,
                                                                       variant.features))}}));
            entry.set("tag", spec.tag);
            entry.set("variants", std::move(variants));
        }
        return entry;
    }

    std::map<std::string, std::string> names_;  // of types, to those on the wire
    std::deque<Later> waiting_;
    std::string empty_;
    std::uint64_t count_ = 0;
};

const TypeRegistration meta_type({.name = "SchemaMetaType",
                                  .meta = TypeSpec::Meta::enumeration,
                                  .values = {"builtin", "enum", "array", "object", "alternate",
                                             "command", "event"}});
const TypeRegistration json_type_names(
    {.name = "JSONType",
     .meta = TypeSpec::Meta::enumeration,
     .values = {"string", "number", "int", "boolean", "null", "object", "array", "value"}});
const TypeRegistration enum_member({.name = "SchemaInfoEnumMember",
                                    .members = {required("name", "str"),
                                                optional("features", "[str]")}});
const TypeRegistration object_member({.name = "SchemaInfoObjectMember",
                                      .members = {required("name", "str"), required("type", "str"),
                                                  optional("default", "any"),
                                                  optional("features", "[str]")}});
const TypeRegistration object_variant({.name = "SchemaInfoObjectVariant",
                                       .members = {required("case", "str"),
                                                   required("type", "str")}});
const TypeRegistration alternate_member({.name = "SchemaInfoAlternateMember",
                                         .members = {required("type", "str")}});
const TypeRegistration info(
    {.name = "SchemaInfo",
     .members = {required("name", "str"), required("meta-type", "SchemaMetaType"),
                 optional("features", "[str]")},
     .tag = "meta-type",
     .variants = {
         {"builtin", {required("json-type", "JSONType")}},
         {"enum",
          {required("members", "[SchemaInfoEnumMember]"),
           with_feature("deprecated", required("values", "[str]"))}},
         {"array", {required("element-type", "str")}},
         {"object",
          {required("members", "[SchemaInfoObjectMember]"), optional("tag", "str"),
           optional("variants", "[SchemaInfoObjectVariant]")}},
         {"alternate", {required("members", "[SchemaInfoAlternateMember]")}},
         {"command",
          {required("arg-type", "str"), required("ret-type", "str"),
           optional("allow-oob", "bool")}},
         {"event", {required("arg-type", "str")}},
     }});

Result<Value> query_qmp_schema(sim::Co&, BlockLayer&, const Value&) {
    return Describer().describe();
}

const CommandRegistration registration({.name = "query-qmp-schema",
                                        .returns = "[SchemaInfo]",
                                        .run = query_qmp_schema,
                                        .source = "QAPI introspect.json"});

}  // namespace
}  // namespace blocklayer
