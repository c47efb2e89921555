// SPDX-License-Identifier: Apache-2.0
#include "sim/choice_record.hpp"

#include <fmt/format.h>

#include <charconv>
#include <optional>

#include "sim/check.hpp"

namespace sim {
namespace {

constexpr std::string_view first_line = "blockstep choices 2";
constexpr std::size_t line_bytes_max = 4096;
constexpr std::size_t headers_max = 64;
constexpr std::uint64_t choices_max = 50'000'000;

bool same(const Choice& a, const Choice& b) {
    if (a.k == 0 || b.k == 0) return a.k == b.k;
    return a.label.hash() == b.label.hash() && a.n == b.n && a.k == b.k && a.kind == b.kind;
}

bool one_line(std::string_view text) { return text.find('\n') == text.npos; }

std::optional<std::uint32_t> number(std::string_view text) {
    std::uint32_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
    return value;
}

// Cuts the first word and the space after it off, if it names a kind.
std::optional<ChoiceKind> take_kind(std::string_view& line) {
    const std::string_view word = line.substr(0, line.find(' '));
    for (std::uint32_t i = 0; i < choice_kinds; ++i) {
        const auto kind = static_cast<ChoiceKind>(i);
        if (word != to_text(kind) || word.size() == line.size()) continue;
        line.remove_prefix(word.size() + 1);
        return kind;
    }
    return std::nullopt;
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

// One line of choices, appended. nullptr: it was understood; otherwise what is wrong with it.
const char* parse_choice(std::string_view line, std::vector<Choice>& choices) {
    if (line.size() > line_bytes_max) return "too long";
    if (line.find('\0') != line.npos) return "not text";
    std::uint32_t count = 1;
    const std::string_view whole = line;
    std::string_view word = take_last_word(line);
    Choice choice{{}, 0, 0, ChoiceKind::value};
    if (line == "ordinary" && whole.size() > word.size()) {
        count = number(word).value_or(0);
        if (count == 0) return "not a count";
    } else {
        if (word.starts_with('x')) {
            count = number(word.substr(1)).value_or(0);
            if (count == 0) return "not a count";
            word = take_last_word(line);
        }
        const auto k = number(word);
        const auto n = number(take_last_word(line));
        const auto kind = take_kind(line);
        if (!k || !n || !kind || line.empty()) return "not a kind, a name and two numbers";
        if (*k >= *n) return "an answer beyond the last one";
        choice = {Label::interned(line), *n, *k, *kind};
    }
    if (count > choices_max - choices.size()) return "too many choices";
    choices.insert(choices.end(), count, choice);
    return nullptr;
}

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
        const std::size_t count = next - i;
        if (choices[i].k == 0) {
            text += fmt::format("ordinary {}\n", count);
            i = next;
            continue;
        }
        EXPECTS(one_line(choices[i].label.name()));
        text += fmt::format("{} {} {} {}", to_text(choices[i].kind), choices[i].label.name(),
                            choices[i].n, choices[i].k);
        if (count > 1) text += fmt::format(" x{}", count);
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
        if (const char* wrong = parse_choice(line, record.choices)) return lines.error(wrong);
    }
    return record;
}

}  // namespace sim
