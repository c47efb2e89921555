// SPDX-License-Identifier: Apache-2.0
// The file of rules that `config` names.
//
//   # a comment
//   [inject-error]
//     event = "read_aio"
//     errno = "28"
//
// A name is a word; what is not  name = "value"  has an empty value.
// source  docs/devel/blkdebug.txt of the reference; texts as observed
#include <fmt/format.h>

#include <charconv>

#include "blocklayer/drivers/filters/blkdebug/rules.hpp"
#include "blocklayer/options/schema.hpp"

namespace blocklayer::blkdebug {
namespace {

enum class Kind : std::uint8_t { string, number, boolean };
struct Entry {
    std::string_view name;
    Kind kind;
};
constexpr Entry inject_error[] = {{"event", Kind::string},  {"state", Kind::number},
                                  {"iotype", Kind::string}, {"errno", Kind::number},
                                  {"sector", Kind::number}, {"once", Kind::boolean},
                                  {"immediately", Kind::boolean}};
constexpr Entry set_state[] = {
    {"event", Kind::string}, {"state", Kind::number}, {"new_state", Kind::number}};

std::string_view trimmed(std::string_view text) {
    const std::size_t begin = text.find_first_not_of(" \t\r");
    return begin == std::string_view::npos ? std::string_view() : text.substr(begin);
}

std::optional<std::int64_t> read_number(std::string_view text) {
    const bool negative = text.starts_with('-');
    if (negative) text.remove_prefix(1);
    int base = 10;
    if (text.starts_with("0x")) text.remove_prefix(2), base = 16;
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
    if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
    return static_cast<std::int64_t>(negative ? 0 - value : value);
}

Status read_entry(std::span<const Entry> known, std::string_view line, Value& entries) {
    const std::string_view name = line.substr(0, line.find_first_of(" \t"));
    std::string_view value = trimmed(line.substr(name.size()));
    const bool quoted = value.starts_with('=') && trimmed(value.substr(1)).starts_with('"');
    value = quoted ? trimmed(value.substr(1)).substr(1) : std::string_view();
    value = value.substr(0, value.find('"'));

    for (const Entry& entry : known) {
        if (entry.name != name) continue;
        if (entry.kind == Kind::string) {
            entries.set(std::string(name), value);
        } else if (entry.kind == Kind::boolean) {
            if (value != "on" && value != "off" && value != "yes" && value != "no" &&
                value != "true" && value != "false" && value != "y" && value != "n")
                return failure(fmt::format("Parameter '{}' expects 'on' or 'off'", name));
            entries.set(std::string(name),
                        value == "on" || value.starts_with('y') || value == "true");
        } else {
            const auto number = read_number(value);
            if (!number) return failure(fmt::format("Parameter '{}' expects a number", name));
            entries.set(std::string(name), *number);
        }
        return {};
    }
    return failure(fmt::format("Invalid parameter '{}'", name));
}

}  // namespace

Status Rules::add_section(std::string_view group, const Value& entries) {
    const auto check = [&](const char* name, const char* type) -> Status {
        if (!entries.has(name) || check_value(entries.at(name), type)) return {};
        return failure(fmt::format("invalid parameter value: {}", entries.at(name).as_string()));
    };
    if (!entries.has("event")) return failure("Missing event name for rule");
    TRY(check("event", "BlkdebugEvent"));
    TRY(check("iotype", "BlkdebugIOType"));
    add(make_rule(group == "set-state" ? Rule::Action::set_state : Rule::Action::inject_error,
                  entries));
    return {};
}

Status Rules::add_config(std::string_view text) {
    struct Section {
        std::string_view group;
        std::span<const Entry> known;
        Value entries = Value::dict();
    };
    std::vector<Section> sections;
    while (!text.empty()) {
        const std::string_view line = trimmed(text.substr(0, text.find('\n')));
        const bool blank = text.starts_with('\n');
        text.remove_prefix(std::min(text.find('\n'), text.size() - 1) + 1);
        if (blank || line.starts_with('#')) continue;
        if (line.starts_with('[')) {
            std::string_view group = line.substr(1, line.find(']') - 1);
            group = group.substr(0, group.find(" \""));  // an id may follow
            if (group == "inject-error")
                sections.push_back({group, inject_error});
            else if (group == "set-state")
                sections.push_back({group, set_state});
            else
                return failure(fmt::format("There is no option group '{}'", group));
            continue;
        }
        if (line.empty() || line[0] == '\0') return failure("parse error");
        if (sections.empty()) return failure("no group defined");
        TRY(read_entry(sections.back().known, line, sections.back().entries));
    }
    for (const char* group : {"inject-error", "set-state"})
        for (const Section& section : sections)
            if (section.group == group) TRY(add_section(group, section.entries));
    return {};
}

}  // namespace blocklayer::blkdebug
