// SPDX-License-Identifier: Apache-2.0
// Tokens of JSON with the reference's extensions: strings in single quotes.
//
// After a byte that no token can hold, everything is skipped up to a control character or a
// structural one, so that one broken message costs few faults.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace blocklayer {

struct JsonToken {
    enum class Kind : std::uint8_t {
        left_brace,
        right_brace,
        left_bracket,
        right_bracket,
        colon,
        comma,
        string,   // with its quotes and escapes
        keyword,  // letters: true, false, null or a mistake
        integer,
        real,
        stray,  // what was read of a token, and the byte that cannot follow
    };
    Kind kind;
    std::string text;
};

class JsonLexer {
public:
    using Sink = std::function<void(JsonToken)>;
    explicit JsonLexer(Sink sink) : sink_(std::move(sink)) {}

    void feed(char c);
    void end_of_input();
    std::size_t pending_bytes() const { return text_.size(); }
    void drop_pending();  // a token that has grown too large: skip the rest of it

private:
    enum class State : std::uint8_t {
        start,
        recovery,
        double_quoted,
        double_quoted_escape,
        single_quoted,
        single_quoted_escape,
        minus,
        zero,
        digits,
        point,
        fraction,
        exponent,
        exponent_sign,
        exponent_digits,
        keyword,
    };
    bool step(char c);  // false: the byte belongs to the next token
    void start_token(char c);
    void stray(char c);
    void emit(JsonToken::Kind kind);
    void go(State state, char c);
    bool number_step(char c);

    Sink sink_;
    State state_ = State::start;
    std::string text_;
};

}  // namespace blocklayer
