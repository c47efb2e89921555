// SPDX-License-Identifier: Apache-2.0
#include "sim/choice_record.hpp"

#include <fmt/format.h>

#include <charconv>
#include <optional>

#include "sim/check.hpp"

namespace sim {
namespace {

constexpr std::string_view first_line = "blockstep choices 1";
constexpr std::size_t line_bytes_max = 4096;
constexpr std::size_t headers_max = 64;
constexpr std::uint64_t choices_max = 50'000'000;

bool same(const Choice& a, const Choice& b) {
    return a.label.hash() == b.label.hash() && a.n == b.n && a.k == b.k;
}

bool one_line(std::string_view text) { return text.find('\n') == text.npos; }

std::optional<std::uint32_t> number(std::string_view text) {
    std::uint32_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
    return value;
}

// Cuts the last word and the space before it off.
std::string_view take_last_word(std::string_view& line) {
    const std::size_t space = line.rfind(' ');
    if (space == line.npos) return std::exchange(line, {});
    const std::string_view word = line.substr(space + 1);
    line = line.substr(0, space);
    return word;
}

class Lines {
public:
    explicit Lines(std::string_view text) : rest_(text) {}
    bool next(std::string_view& line) {
        if (rest_.empty()) return false;
        const std::size_t end = rest_.find('\n');
        line = rest_.substr(0, end);
        rest_ = end == rest_.npos ? std::string_view() : rest_.substr(end + 1);
        ++number_;
        return true;
    }
    Unexpected<std::string> error(std::string_view what) const {
        return Unexpected(fmt::format("line {}: {}", number_, what));
    }

private:
    std::string_view rest_;
    std::size_t number_ = 0;
};

}  // namespace

std::string to_text(const ChoiceRecord& record) {
    std::string text = fmt::format("{}\n", first_line);
    for (const auto& [key, value] : record.headers) {
        EXPECTS(!key.empty() && key.find('=') == key.npos && one_line(key) && one_line(value));
        text += fmt::format("{}={}\n", key, value);
    }
    text += '\n';
    const auto& choices = record.choices;
    for (std::size_t i = 0; i < choices.size();) {
        std::size_t next = i + 1;
        while (next < choices.size() && same(choices[next], choices[i])) ++next;
        EXPECTS(one_line(choices[i].label.name()));
        text += fmt::format("{} {} {}", choices[i].label.name(), choices[i].n, choices[i].k);
        if (next - i > 1) text += fmt::format(" x{}", next - i);
        text += '\n';
        i = next;
    }
    return text;
}

Expected<ChoiceRecord, std::string> parse_choice_record(std::string_view text) {
    Lines lines(text);
    std::string_view line;
    if (!lines.next(line) || line != first_line)
        return lines.error(fmt::format("not a record: it should be '{}'", first_line));
    ChoiceRecord record;
    while (lines.next(line) && !line.empty()) {
        const std::size_t equals = line.find('=');
        if (line.size() > line_bytes_max || equals == line.npos || equals == 0)
            return lines.error("not a key=value");
        if (record.headers.size() == headers_max) return lines.error("too many keys");
        if (!record.headers.emplace(line.substr(0, equals), line.substr(equals + 1)).second)
            return lines.error("a key for the second time");
    }
    while (lines.next(line)) {
        if (line.size() > line_bytes_max) return lines.error("too long");
        if (line.find('\0') != line.npos) return lines.error("not text");
        std::uint32_t count = 1;
        std::string_view word = take_last_word(line);
        if (word.starts_with('x')) {
            count = number(word.substr(1)).value_or(0);
            if (count == 0) return lines.error("not a count");
            word = take_last_word(line);
        }
        const auto k = number(word);
        const auto n = number(take_last_word(line));
        if (!k || !n || line.empty()) return lines.error("not a label and two numbers");
        if (*k >= *n) return lines.error("an answer beyond the last one");
        if (count > choices_max - record.choices.size()) return lines.error("too many choices");
        record.choices.insert(record.choices.end(), count, {Label::interned(line), *n, *k});
    }
    return record;
}

}  // namespace sim
