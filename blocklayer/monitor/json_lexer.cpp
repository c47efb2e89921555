// SPDX-License-Identifier: Apache-2.0
#include "blocklayer/monitor/json_lexer.hpp"

#include <utility>

namespace blocklayer {
namespace {

using Kind = JsonToken::Kind;

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return c >= 'a' && c <= 'z'; }
bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20; }
// Bytes no UTF-8 text can hold end a string at once; other faults are found when it is parsed.
bool in_string(char c) { return !is_control(c) && static_cast<unsigned char>(c) < 0xfe; }

bool structural(char c, Kind& kind) {
    switch (c) {
    case '{': kind = Kind::left_brace; return true;
    case '}': kind = Kind::right_brace; return true;
    case '[': kind = Kind::left_bracket; return true;
    case ']': kind = Kind::right_bracket; return true;
    case ':': kind = Kind::colon; return true;
    case ',': kind = Kind::comma; return true;
    default: return false;
    }
}

}  // namespace

void JsonLexer::feed(char c) {
    while (!step(c)) {
    }
}

void JsonLexer::end_of_input() {
    // Space ends every token that can end.
    if (state_ != State::start && state_ != State::recovery) feed(' ');
    if (state_ == State::start || state_ == State::recovery) return;
    state_ = State::start;
    sink_({Kind::stray, std::exchange(text_, {})});
}

void JsonLexer::drop_pending() {
    text_.clear();
    state_ = State::recovery;
}

void JsonLexer::go(State state, char c) {
    state_ = state;
    text_ += c;
}

void JsonLexer::emit(Kind kind) {
    state_ = State::start;
    sink_({kind, std::exchange(text_, {})});
}

void JsonLexer::stray(char c) {
    text_ += c;
    state_ = State::recovery;
    sink_({Kind::stray, std::exchange(text_, {})});
}

void JsonLexer::start_token(char c) {
    Kind kind{};
    if (structural(c, kind)) {
        text_ = c;
        return emit(kind);
    }
    if (c == ' ' || c == '\t' || c == '\r' || c == '\n') return;
    if (c == '"') return go(State::double_quoted, c);
    if (c == '\'') return go(State::single_quoted, c);
    if (c == '-') return go(State::minus, c);
    if (c == '0') return go(State::zero, c);
    if (is_digit(c)) return go(State::digits, c);
    if (is_letter(c)) return go(State::keyword, c);
    stray(c);
}

bool JsonLexer::number_step(char c) {
    const bool exponent = c == 'e' || c == 'E';
    switch (state_) {
    case State::minus:
        if (c == '0') return go(State::zero, c), true;
        if (is_digit(c)) return go(State::digits, c), true;
        return stray(c), true;
    case State::zero:
        if (c == '.') return go(State::point, c), true;
        if (is_digit(c)) return stray(c), true;
        return emit(Kind::integer), false;
    case State::digits:
        if (c == '.') return go(State::point, c), true;
        if (exponent) return go(State::exponent, c), true;
        if (is_digit(c)) return go(State::digits, c), true;
        return emit(Kind::integer), false;
    case State::point: return is_digit(c) ? go(State::fraction, c) : stray(c), true;
    case State::fraction:
        if (is_digit(c)) return go(State::fraction, c), true;
        if (exponent) return go(State::exponent, c), true;
        return emit(Kind::real), false;
    case State::exponent:
        if (c == '+' || c == '-') return go(State::exponent_sign, c), true;
        return is_digit(c) ? go(State::exponent_digits, c) : stray(c), true;
    case State::exponent_sign: return is_digit(c) ? go(State::exponent_digits, c) : stray(c), true;
    default:
        if (is_digit(c)) return go(State::exponent_digits, c), true;
        return emit(Kind::real), false;
    }
}

bool JsonLexer::step(char c) {
    Kind kind{};
    switch (state_) {
    case State::start: return start_token(c), true;
    case State::recovery:
        if (c == '\t' || (in_string(c) && !structural(c, kind))) return true;
        state_ = State::start;
        return false;
    case State::double_quoted:
    case State::single_quoted: {
        const bool is_double = state_ == State::double_quoted;
        if (!in_string(c)) return stray(c), true;
        text_ += c;
        if (c == '\\')
            state_ = is_double ? State::double_quoted_escape : State::single_quoted_escape;
        else if (c == (is_double ? '"' : '\''))
            emit(Kind::string);
        return true;
    }
    case State::double_quoted_escape:
    case State::single_quoted_escape:
        if (!in_string(c)) return stray(c), true;
        go(state_ == State::double_quoted_escape ? State::double_quoted : State::single_quoted, c);
        return true;
    case State::keyword:
        if (is_letter(c)) return go(State::keyword, c), true;
        return emit(Kind::keyword), false;
    default: return number_step(c);
    }
}

}  // namespace blocklayer
