// SPDX-License-Identifier: Apache-2.0
// Holds:   a value is checked member by member in the schema's order; the first fault is told in
// the
//          reference's words, with the whole path where the reference has it.
// Method:  each kind of fault on a type of the test's own, texts as seen on the real program.
#include "blocklayer/options/schema.hpp"

#include "sim/testing/catch.hpp"

namespace blocklayer {
namespace {

const TypeRegistration color({.name = "TestColor",
                              .meta = TypeSpec::Meta::enumeration,
                              .values = {"red", "green"}});
const TypeRegistration inner({.name = "TestInner",
                              .members = {required("size", "uint32"), optional("on", "bool")}});
const TypeRegistration either({.name = "TestEither",
                               .meta = TypeSpec::Meta::alternate,
                               .members = {required("object", "TestInner"), required("name", "str"),
                                           required("nothing", "null")}});
const TypeRegistration outer(
    {.name = "TestOuter",
     .members = {required("kind", "TestColor"), optional("list", "[TestInner]"),
                 optional("either", "TestEither"), optional("colors", "[TestColor]"),
                 optional("bytes", "size")},
     .tag = "kind",
     .variants = {{"red", {required("inner", "TestInner")}}}});

std::string fault(const Value& value) {
    const Status status = check_value(value, "TestOuter");
    return status ? "" : status.error().text;
}

Value green(std::string name, Value value) {
    return Value::dict({{"kind", "green"}, {std::move(name), std::move(value)}});
}

TEST_CASE("schema: what fits is taken", "[schema]") {
    CHECK(fault(Value::dict({{"kind", "green"}})).empty());
    CHECK(fault(Value::dict({{"kind", "red"}, {"inner", Value::dict({{"size", 1}})}})).empty());
    CHECK(fault(green("either", "x")).empty());
    CHECK(fault(green("either", Value())).empty());
    CHECK(fault(green("bytes", -1)).empty());  // wraps around, as in the reference
    CHECK(fault(green("bytes", UINT64_MAX)).empty());
}

TEST_CASE("schema: each fault in the reference's words", "[schema]") {
    CHECK(fault(Value::dict()) == "Parameter 'kind' is missing");
    CHECK(fault(Value::dict({{"kind", 5}})) ==
          "Invalid parameter type for 'kind', expected: string");
    CHECK(fault(Value::dict({{"kind", "blue"}})) ==
          "Parameter 'kind' does not accept value 'blue'");
    CHECK(fault(Value::dict({{"kind", "red"}})) == "Parameter 'inner' is missing");
    CHECK(fault(Value::dict({{"kind", "red"}, {"inner", Value::dict({{"size", "x"}})}})) ==
          "Parameter 'inner.size' expects uint64");
    CHECK(fault(Value::dict({{"kind", "red"}, {"inner", Value::dict({{"size", -1}})}})) ==
          "Parameter 'size' expects uint32_t");
    CHECK(fault(green("list", 5)) == "Invalid parameter type for 'list', expected: array");
    CHECK(fault(green("list", Value::list({Value::dict({{"size", 1}}), Value::dict()}))) ==
          "Parameter 'list[1].size' is missing");
    CHECK(fault(green("colors", Value::list({"red", "blue"}))) ==
          "Parameter 'null' does not accept value 'blue'");
    CHECK(fault(green("either", 5)) == "Invalid parameter type for 'either', expected: TestEither");
    CHECK(fault(green("either", Value::dict({{"size", 1}, {"on", 1}}))) ==
          "Invalid parameter type for 'either.on', expected: boolean");
    CHECK(fault(green("inner", Value::dict())) == "Parameter 'inner' is unexpected");
    CHECK(check_members(Value::dict({{"a", 1.5}}), {optional("a", "int")}).error().text ==
          "Invalid parameter type for 'a', expected: integer");
}

TEST_CASE("schema: of several unexpected members, the one the reference names", "[schema]") {
    const auto unexpected = [](std::initializer_list<const char*> names) {
        Value value = Value::dict();
        for (const char* name : names) value.set(name, 1);
        return check_members(value, {optional("known", "int")}).error().text;
    };
    CHECK(unexpected({"zz", "known", "yy"}) == "Parameter 'yy' is unexpected");
    CHECK(unexpected({"node-name", "qq", "aa"}) == "Parameter 'aa' is unexpected");
}

TEST_CASE("schema: nesting is bounded before it can exhaust a stack", "[schema]") {
    Value value = "n";
    for (int i = 0; i < 500; ++i) value = Value::list({value});
    std::string type = "str";
    type.insert(0, 500, '[');
    type.append(500, ']');
    const Status status = check_value(value, type, "deep");
    REQUIRE_FALSE(status.has_value());
    CHECK(status.error().text.find("is nested too deeply") != std::string::npos);
}

TEST_CASE("schema: every registered type names only types there are", "[schema]") {
    std::size_t members = 0;
    const auto check = [&](const std::vector<MemberSpec>& specs) {
        for (const MemberSpec& member : specs) {
            std::string_view type = member.type;
            while (type.starts_with('[')) type = type.substr(1, type.size() - 2);
            INFO(member.name);
            // A name that is not known stops the run.
            CHECK_NOTHROW((void)check_value(Value(), type));
            ++members;
        }
    };
    for (const TypeSpec* spec : all_types()) {
        check(spec->members);
        for (const Variant& variant : spec->variants) check(variant.members);
    }
    CHECK(members > 50);
}

}  // namespace
}  // namespace blocklayer
