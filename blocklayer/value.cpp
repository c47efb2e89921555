// SPDX-License-Identifier: Apache-2.0
#include "blocklayer/value.hpp"

#include <algorithm>

#include "sim/check.hpp"

namespace blocklayer {

Value Value::list(std::initializer_list<Value> items) {
    Value value;
    value.data_ = List(items);
    return value;
}

Value Value::dict(std::initializer_list<NewMember> members) {
    Dict dict;
    dict.reserve(members.size());
    for (const NewMember& member : members)
        dict.emplace_back(member.name, std::move(member.value));
    return dict_of(std::move(dict));
}

Value Value::dict_of(Dict members) {
    Value value;
    value.data_ = std::move(members);
    return value;
}

bool Value::as_bool() const {
    EXPECTS(is_bool());
    return std::get<bool>(data_);
}

std::int64_t Value::as_int() const {
    EXPECTS(is_int());
    return std::get<std::int64_t>(data_);
}

std::uint64_t Value::as_uint() const {
    if (is_uint()) return std::get<std::uint64_t>(data_);
    EXPECTS(is_int() && as_int() >= 0);
    return static_cast<std::uint64_t>(as_int());
}

double Value::as_double() const {
    if (is_int()) return static_cast<double>(as_int());
    if (is_uint()) return static_cast<double>(as_uint());
    EXPECTS(is_double());
    return std::get<double>(data_);
}

const std::string& Value::as_string() const {
    EXPECTS(is_string());
    return std::get<std::string>(data_);
}

const Value::List& Value::items() const {
    EXPECTS(is_list());
    return std::get<List>(data_);
}

Value::List& Value::items() {
    EXPECTS(is_list());
    return std::get<List>(data_);
}

const Value::Dict& Value::members() const {
    EXPECTS(is_dict());
    return std::get<Dict>(data_);
}

const Value* Value::find(std::string_view key) const {
    const auto* members = std::get_if<Dict>(&data_);
    if (members == nullptr) return nullptr;
    const auto found = std::find_if(members->begin(), members->end(),
                                    [&](const Member& member) { return member.first == key; });
    return found == members->end() ? nullptr : &found->second;
}

Value* Value::find(std::string_view key) {
    return const_cast<Value*>(std::as_const(*this).find(key));
}

const Value& Value::at(std::string_view key) const {
    const Value* value = find(key);
    EXPECTS(value != nullptr);
    return *value;
}

Value& Value::set(std::string key, Value value) {
    if (is_null()) data_ = Dict();
    EXPECTS(is_dict());
    if (Value* present = find(key)) return *present = std::move(value);
    return std::get<Dict>(data_).emplace_back(std::move(key), std::move(value)).second;
}

bool Value::erase(std::string_view key) {
    auto* members = std::get_if<Dict>(&data_);
    return members != nullptr &&
           std::erase_if(*members, [&](const Member& member) { return member.first == key; }) > 0;
}

bool Value::get_bool(std::string_view key, bool fallback) const {
    const Value* value = find(key);
    return value == nullptr ? fallback : value->as_bool();
}

std::int64_t Value::get_int(std::string_view key, std::int64_t fallback) const {
    const Value* value = find(key);
    return value == nullptr ? fallback : value->as_int();
}

std::uint64_t Value::get_uint(std::string_view key, std::uint64_t fallback) const {
    const Value* value = find(key);
    return value == nullptr ? fallback : value->as_uint();
}

std::string Value::get_string(std::string_view key, std::string_view fallback) const {
    const Value* value = find(key);
    return value == nullptr ? std::string(fallback) : value->as_string();
}

Value& Value::push(Value item) {
    if (is_null()) data_ = List();
    return items().emplace_back(std::move(item));
}

bool Value::operator==(const Value& other) const {
    if (!is_dict() || !other.is_dict()) return data_ == other.data_;
    if (members().size() != other.members().size()) return false;
    return std::all_of(members().begin(), members().end(), [&](const Member& member) {
        const Value* there = other.find(member.first);
        return there != nullptr && *there == member.second;
    });
}

}  // namespace blocklayer
