// SPDX-License-Identifier: Apache-2.0
#include "hwmodels/qdev/property.hpp"

#include <fmt/format.h>
#include <algorithm>
#include <charconv>

#include "sim/check.hpp"

namespace hwmodels {

using blocklayer::failure;
using blocklayer::Result;
using blocklayer::Value;

namespace {

constexpr std::uint64_t block_size_min = 512, block_size_max = 2 * 1024 * 1024;

// Decimal, 0x hexadecimal or 0 octal, with a sign, all of the text; false when it is none.
bool parse_integer(std::string_view text, bool& negative, std::uint64_t& magnitude) {
    negative = !text.empty() && text.front() == '-';
    if (negative || (!text.empty() && text.front() == '+')) text.remove_prefix(1);
    int base = 10;
    if (text.starts_with("0x") || text.starts_with("0X")) {
        base = 16;
        text.remove_prefix(2);
    } else if (text.size() > 1 && text.front() == '0') {
        base = 8;
    }
    const auto [end, error] =
        std::from_chars(text.data(), text.data() + text.size(), magnitude, base);
    return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

Result<Value> parse_unsigned(const PropertySpec& spec, std::string_view text, std::uint64_t max,
                             std::string_view kind) {
    bool negative = false;
    std::uint64_t magnitude = 0;
    if (!parse_integer(text, negative, magnitude))
        return failure(fmt::format("Parameter '{}' expects integer", spec.name));
    // A small negative number means the largest ones, as the reference's parser has it.
    if (negative && magnitude != 0) {
        if (max != UINT64_MAX || magnitude > (1ULL << 63))
            return failure(fmt::format("Parameter '{}' expects {}", spec.name, kind));
        return Value(~magnitude + 1);
    }
    if (magnitude > max) return failure(fmt::format("Parameter '{}' expects {}", spec.name, kind));
    return Value(magnitude);
}

Result<Value> parse_size(const PropertySpec& spec, std::string_view text) {
    const auto bad = [&] { return failure(fmt::format("Parameter '{}' expects size", spec.name)); };
    std::uint64_t factor = 1;
    if (!text.empty()) {
        constexpr std::string_view suffixes = "bkmgtpe";
        const char last = static_cast<char>(text.back() | 0x20);
        const std::size_t power = suffixes.find(last);
        const bool hexadecimal = text.starts_with("0x") || text.starts_with("0X");
        if (power != std::string_view::npos && !(hexadecimal && (last == 'b' || last == 'e'))) {
            factor = 1ULL << (10 * power);
            text.remove_suffix(1);
        }
    }
    bool negative = false;
    std::uint64_t magnitude = 0;
    if (!parse_integer(text, negative, magnitude) || negative) return bad();
    if (magnitude > UINT64_MAX / factor) return bad();
    return Value(magnitude * factor);
}

Result<Value> parse_block_size(const PropertySpec& spec, std::string_view text) {
    const Value value = TRY(parse_size(spec, text));
    const std::uint64_t size = value.as_uint();
    if (size != 0 && (size < block_size_min || size > block_size_max))
        return failure(fmt::format("Property .{} doesn't take value {} (minimum: {}, maximum: {})",
                                   spec.name, size, block_size_min, block_size_max));
    if ((size & (size - 1)) != 0)
        return failure(fmt::format("Property .{} doesn't take value '{}', it's not a power of 2",
                                   spec.name, size));
    return value;
}

Result<Value> parse_choice(const PropertySpec& spec, std::string_view text,
                           std::initializer_list<std::string_view> choices) {
    for (const std::string_view choice : choices)
        if (choice == text) return Value(text);
    return failure(fmt::format("Parameter '{}' does not accept value '{}'", spec.name, text));
}

Result<Value> parse_pci_address(const PropertySpec& spec, std::string_view model,
                                std::string_view text) {
    const auto bad = [&] {
        return failure(
            fmt::format("Property '{}.{}' doesn't take value '{}'", model, spec.name, text));
    };
    unsigned slot = 0, function = 0;
    const char* end = text.data() + text.size();
    auto result = std::from_chars(text.data(), end, slot, 16);
    if (result.ec != std::errc()) return bad();
    if (result.ptr != end) {
        if (*result.ptr != '.') return bad();
        result = std::from_chars(result.ptr + 1, end, function, 16);
        if (result.ec != std::errc() || result.ptr != end) return bad();
    }
    if (slot > 31 || function > 7) return bad();
    return Value(slot << 3 | function);
}

}  // namespace

std::vector<PropertySpec> operator+(std::vector<PropertySpec> a, std::vector<PropertySpec> b) {
    std::move(b.begin(), b.end(), std::back_inserter(a));
    return a;
}

std::string_view type_name(PropertyKind kind) {
    switch (kind) {
    case PropertyKind::boolean: return "bool";
    case PropertyKind::uint16: return "uint16";
    case PropertyKind::uint32: return "uint32";
    case PropertyKind::uint64: return "uint64";
    case PropertyKind::int32:
    case PropertyKind::pci_address: return "int32";
    case PropertyKind::size:
    case PropertyKind::block_size: return "size";
    case PropertyKind::on_off_auto: return "OnOffAuto";
    case PropertyKind::on_error: return "BlockdevOnError";
    case PropertyKind::iothread: return "link<iothread>";
    case PropertyKind::string:
    case PropertyKind::drive: return "str";
    }
    return "";
}

std::string_view type_help(PropertyKind kind) {
    switch (kind) {
    case PropertyKind::on_off_auto: return "on/off/auto";
    case PropertyKind::on_error: return "Error handling policy, report/ignore/enospc/stop/auto";
    case PropertyKind::block_size: return "A power of two between 512 B and 2 MiB";
    case PropertyKind::drive: return "Node name or ID of a block device to use as a backend";
    case PropertyKind::pci_address: return "Slot and optional function number, example: 06.0 or 06";
    default: return "";
    }
}

Result<Value> parse_property(const PropertySpec& spec, std::string_view model,
                             std::string_view text) {
    switch (spec.kind) {
    case PropertyKind::boolean:
        for (const std::string_view yes : {"on", "yes", "true", "y"})
            if (text == yes) return Value(true);
        for (const std::string_view no : {"off", "no", "false", "n"})
            if (text == no) return Value(false);
        return failure(fmt::format("Parameter '{}' expects 'on' or 'off'", spec.name));
    case PropertyKind::uint16: return parse_unsigned(spec, text, UINT16_MAX, "uint16_t");
    case PropertyKind::uint32: return parse_unsigned(spec, text, UINT32_MAX, "uint32_t");
    case PropertyKind::uint64: return parse_unsigned(spec, text, UINT64_MAX, "uint64_t");
    case PropertyKind::int32: {
        bool negative = false;
        std::uint64_t magnitude = 0;
        if (!parse_integer(text, negative, magnitude))
            return failure(fmt::format("Parameter '{}' expects integer", spec.name));
        if (magnitude > (negative ? 1ULL << 31 : (1ULL << 31) - 1))
            return failure(fmt::format("Parameter '{}' expects int32_t", spec.name));
        const auto value = static_cast<std::int64_t>(magnitude);
        return Value(negative ? -value : value);
    }
    case PropertyKind::size: return parse_size(spec, text);
    case PropertyKind::block_size: return parse_block_size(spec, text);
    case PropertyKind::on_off_auto: return parse_choice(spec, text, {"auto", "on", "off"});
    case PropertyKind::on_error:
        return parse_choice(spec, text, {"report", "ignore", "enospc", "stop", "auto"});
    case PropertyKind::pci_address: return parse_pci_address(spec, model, text);
    case PropertyKind::string:
    case PropertyKind::drive:
    case PropertyKind::iothread: return Value(text);
    }
    return Value();
}

std::string property_text(const Value& value) {
    if (value.is_string()) return value.as_string();
    if (value.is_bool()) return value.as_bool() ? "on" : "off";
    if (value.is_int()) return std::to_string(value.as_int());
    if (value.is_uint()) return std::to_string(value.as_uint());
    if (value.is_double()) return fmt::format("{}", value.as_double());
    return "";
}

void Properties::set(std::uint64_t name, Value value) {
    for (auto& [known, old] : values_)
        if (known == name) {
            old = std::move(value);
            return;
        }
    values_.emplace_back(name, std::move(value));
}

const Value& Properties::get(std::uint64_t name) const {
    for (const auto& [known, value] : values_)
        if (known == name) return value;
    const auto spec = std::find_if(specs_->begin(), specs_->end(),
                                   [&](const PropertySpec& one) { return one.hash == name; });
    EXPECTS(spec != specs_->end());
    return spec->fallback;
}

}  // namespace hwmodels
