// SPDX-License-Identifier: Apache-2.0
// Value: a tree of options, arguments or a reply, as it travels between monitor, drivers, devices
// and scenarios.
//
// A small type of our own, so that only the monitor's JSON file compiles a JSON library. Dictionary
// members keep the order in which they were set; the monitor puts them into the wire's order.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace blocklayer {

class Value {
public:
    using List = std::vector<Value>;
    using Member = std::pair<std::string, Value>;
    using Dict = std::vector<Member>;

    Value() = default;  // null
    Value(std::nullptr_t) {}
    Value(bool b) : data_(b) {}
    Value(int n) : data_(std::int64_t{n}) {}
    Value(unsigned n) : data_(std::int64_t{n}) {}
    Value(std::int64_t n) : data_(n) {}
    Value(std::uint64_t n) {  // one number has one representation
        if (n <= INT64_MAX)
            data_ = static_cast<std::int64_t>(n);
        else
            data_ = n;
    }
    Value(double d) : data_(d) {}
    Value(const char* text) : data_(std::string(text)) {}
    Value(std::string text) : data_(std::move(text)) {}
    Value(std::string_view text) : data_(std::string(text)) {}
    static Value list(std::initializer_list<Value> items = {});
    struct NewMember;
    static Value dict(std::initializer_list<NewMember> members = {});
    static Value dict_of(Dict members);  // whose names are known to differ

    bool is_null() const { return std::holds_alternative<std::monostate>(data_); }
    bool is_bool() const { return std::holds_alternative<bool>(data_); }
    bool is_int() const { return std::holds_alternative<std::int64_t>(data_); }
    bool is_uint() const { return std::holds_alternative<std::uint64_t>(data_); }  // > INT64_MAX
    bool is_double() const { return std::holds_alternative<double>(data_); }
    bool is_string() const { return std::holds_alternative<std::string>(data_); }
    bool is_list() const { return std::holds_alternative<List>(data_); }
    bool is_dict() const { return std::holds_alternative<Dict>(data_); }

    // The value, which must be of that kind.
    bool as_bool() const;
    std::int64_t as_int() const;
    std::uint64_t as_uint() const;  // any integer that is not negative
    double as_double() const;       // any number
    const std::string& as_string() const;
    const List& items() const;
    List& items();
    const Dict& members() const;

    // Dictionaries. Finding in anything else finds nothing.
    const Value* find(std::string_view key) const;
    Value* find(std::string_view key);
    bool has(std::string_view key) const { return find(key) != nullptr; }
    const Value& at(std::string_view key) const;  // must be there
    Value& set(std::string key, Value value);     // replaces; makes a dict of null
    bool erase(std::string_view key);

    // The member, or the fallback when it is absent; it must have the right kind.
    bool get_bool(std::string_view key, bool fallback) const;
    std::int64_t get_int(std::string_view key, std::int64_t fallback) const;
    std::uint64_t get_uint(std::string_view key, std::uint64_t fallback) const;
    std::string get_string(std::string_view key, std::string_view fallback = "") const;

    Value& push(Value item);  // makes a list of null

    bool operator==(const Value&) const;  // dictionaries compare without order

private:
    std::variant<std::monostate, bool, std::int64_t, std::uint64_t, double, std::string, List,
                 Dict>
        data_;
};

// A member as a list in braces gives it. Such lists can only be read, hence mutable: what would be
// copied out of them is moved.
struct Value::NewMember {
    std::string_view name;
    mutable Value value;
};

}  // namespace blocklayer
