// SPDX-License-Identifier: Apache-2.0
// Tokens are collected until braces and brackets balance (or close more than was opened), then
// parsed as one value: so a fault inside a message costs exactly that message.
#include "blocklayer/monitor/json.hpp"

#include <fmt/format.h>

#include <charconv>
#include <cstdlib>
#include <optional>
#include <unordered_set>

#include "blocklayer/utf8.hpp"
#include "sim/check.hpp"

namespace blocklayer {
namespace {

using Kind = JsonToken::Kind;

Unexpected<Error> parse_error(std::string_view what) {
    return failure(fmt::format("JSON parse error, {}", what));
}

int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

// Four hex digits at the front of `text`.
std::optional<std::uint32_t> hex4(std::string_view text) {
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < 4; ++i) {
        const int digit = i < text.size() ? hex_digit(text[i]) : -1;
        if (digit < 0) return std::nullopt;
        value = value * 16 + static_cast<std::uint32_t>(digit);
    }
    return value;
}

// The code point of a \u escape (or two, for a pair) whose digits begin `text`; `used` gets the
// bytes it took.
std::optional<std::uint32_t> unicode_escape(std::string_view text, std::size_t& used) {
    const auto first = hex4(text);
    if (!first) return std::nullopt;
    used = 4;
    if (*first < 0xd800 || *first > 0xdfff) return first;
    const std::string_view rest = text.substr(4);
    if (*first > 0xdbff || !rest.starts_with("\\u")) return std::nullopt;
    const auto second = hex4(rest.substr(2));
    if (!second || *second < 0xdc00 || *second > 0xdfff) return std::nullopt;
    used = 10;
    return 0x10000 + ((*first & 0x3ff) << 10) + (*second & 0x3ff);
}

std::optional<char> simple_escape(char c) {
    switch (c) {
    case '"':
    case '\'':
    case '\\':
    case '/': return c;
    case 'b': return '\b';
    case 'f': return '\f';
    case 'n': return '\n';
    case 'r': return '\r';
    case 't': return '\t';
    default: return std::nullopt;
    }
}

Result<std::string> parse_string(std::string_view token) {
    const std::string_view text = token.substr(1, token.size() - 2);
    std::string out;
    for (std::size_t at = 0; at < text.size();) {
        if (text[at] != '\\') {
            const auto point = decode_utf8(text.substr(at));
            if (!point) return parse_error("invalid UTF-8 sequence in string");
            out += text.substr(at, point->bytes);
            at += point->bytes;
            continue;
        }
        const char kind = text[at + 1];  // the lexer saw to it that there is one
        at += 2;
        if (kind != 'u') {
            const auto plain = simple_escape(kind);
            if (!plain) return parse_error("invalid escape sequence in string");
            out += *plain;
            continue;
        }
        std::size_t used = 0;
        const auto point = unicode_escape(text.substr(at), used);
        if (!point || !is_character(*point))
            return parse_error(
                fmt::format("\\u{} is not a valid Unicode character", token.substr(at + 1, 4)));
        append_utf8(out, *point);
        at += used;
    }
    return out;
}

class Parser {
public:
    explicit Parser(const std::vector<JsonToken>& tokens) : tokens_(tokens) {}

    Result<Value> value() {
        if (at_ == tokens_.size()) return parse_error("premature EOI");
        const JsonToken& token = tokens_[at_++];
        switch (token.kind) {
        case Kind::left_brace: return object();
        case Kind::left_bracket: return list();
        case Kind::string: {
            Result<std::string> text = parse_string(token.text);
            if (!text) return Unexpected(std::move(text).error());
            return Value(*std::move(text));
        }
        case Kind::keyword: return keyword(token.text);
        case Kind::integer: return integer(token.text);
        case Kind::real: return Value(std::strtod(token.text.c_str(), nullptr));
        default: return parse_error("expecting value");
        }
    }

private:
    bool next_is(Kind kind) {
        if (at_ == tokens_.size() || tokens_[at_].kind != kind) return false;
        ++at_;
        return true;
    }

    static Result<Value> keyword(std::string_view text) {
        if (text == "true") return Value(true);
        if (text == "false") return Value(false);
        if (text == "null") return Value();
        return parse_error(fmt::format("invalid keyword '{}'", text));
    }

    static Result<Value> integer(const std::string& text) {
        const char* end = text.data() + text.size();
        std::int64_t number = 0;
        if (std::from_chars(text.data(), end, number).ec == std::errc()) return Value(number);
        std::uint64_t large = 0;
        if (text[0] != '-' && std::from_chars(text.data(), end, large).ec == std::errc())
            return Value(large);
        return Value(std::strtod(text.c_str(), nullptr));
    }

    Result<Value> list() {
        Value out = Value::list();
        if (next_is(Kind::right_bracket)) return out;
        while (true) {
            Result<Value> item = value();
            if (!item) return item;
            out.push(*std::move(item));
            if (next_is(Kind::right_bracket)) return out;
            if (!next_is(Kind::comma)) return parse_error("expected separator in list");
        }
    }

    Result<Value> object() {
        Value::Dict members;
        std::unordered_set<std::string> seen;  // asked only, never walked
        if (next_is(Kind::right_brace)) return Value::dict_of(std::move(members));
        while (true) {
            Result<Value> key = value();
            if (!key) return key;
            if (!key->is_string()) return parse_error("key is not a string in object");
            if (!next_is(Kind::colon)) return parse_error("missing : in object pair");
            Result<Value> member = value();
            if (!member) return member;
            if (!seen.insert(key->as_string()).second) return parse_error("duplicate key");
            members.emplace_back(key->as_string(), *std::move(member));
            if (next_is(Kind::right_brace)) return Value::dict_of(std::move(members));
            if (!next_is(Kind::comma)) return parse_error("expected separator in dict");
        }
    }

    const std::vector<JsonToken>& tokens_;
    std::size_t at_ = 0;
};

}  // namespace

JsonReader::JsonReader(Sink sink)
    : sink_(std::move(sink)), lexer_([this](JsonToken token) { take(std::move(token)); }) {}

void JsonReader::feed(std::string_view text) {
    for (const char c : text) {
        lexer_.feed(c);
        if (bytes_ + lexer_.pending_bytes() > json_bytes_max) {
            lexer_.drop_pending();
            fail("JSON token size limit exceeded");
        }
    }
}

void JsonReader::end_of_input() {
    lexer_.end_of_input();
    if (!tokens_.empty()) finish();
}

void JsonReader::reset() {
    tokens_.clear();
    bytes_ = 0;
    braces_ = brackets_ = 0;
}

void JsonReader::fail(std::string text) {
    reset();
    sink_(failure(std::move(text)));
}

void JsonReader::finish() {
    const std::vector<JsonToken> tokens = std::move(tokens_);
    reset();
    sink_(Parser(tokens).value());
}

void JsonReader::take(JsonToken token) {
    switch (token.kind) {
    case Kind::left_brace: ++braces_; break;
    case Kind::right_brace: --braces_; break;
    case Kind::left_bracket: ++brackets_; break;
    case Kind::right_bracket: --brackets_; break;
    case Kind::stray:
        // A C string on the other side: it ends at a zero byte.
        return fail(fmt::format("JSON parse error, stray '{}'", token.text.c_str()));
    default: break;
    }
    bytes_ += token.text.size();
    tokens_.push_back(std::move(token));
    if (tokens_.size() > json_tokens_max) return fail("JSON token count limit exceeded");
    if (braces_ + brackets_ > json_nesting_max) return fail("JSON nesting depth limit exceeded");
    if (braces_ < 0 || brackets_ < 0 || (braces_ == 0 && brackets_ == 0)) finish();
}

Result<Value> parse_json(std::string_view text) {
    std::optional<Result<Value>> first;
    bool more = false;
    JsonReader reader([&](Result<Value> value) {
        more = more || first.has_value();
        if (!first) first.emplace(std::move(value));
    });
    reader.feed(text);
    reader.end_of_input();
    if (!first) return parse_error("expecting value");
    if (more && *first) return parse_error("one value expected");
    return *std::move(first);
}

}  // namespace blocklayer
