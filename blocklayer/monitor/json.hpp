// SPDX-License-Identifier: Apache-2.0
// JSON as the monitor reads it: a stream of values. How it writes one: json_text.hpp.
//
// Input may come in any pieces. Strings may have single quotes; a fault is reported and reading
// goes on at the next place that can start a value.
//
// units  limits in bytes, tokens and levels: hostile input costs no more than they allow
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "blocklayer/errors.hpp"
#include "blocklayer/json_text.hpp"
#include "blocklayer/monitor/json_lexer.hpp"
#include "blocklayer/options/member_order.hpp"
#include "blocklayer/value.hpp"

namespace blocklayer {

constexpr std::uint64_t json_bytes_max = 64u << 20;
constexpr std::uint64_t json_tokens_max = 2u << 20;
constexpr std::int64_t json_nesting_max = 1024;

class JsonReader {
public:
    // Called once for each value or fault, in order.
    using Sink = std::function<void(Result<Value>)>;
    explicit JsonReader(Sink sink);

    void feed(std::string_view text);
    void end_of_input();  // what is complete without more text, and a fault for a broken rest

private:
    void take(JsonToken token);
    void finish();
    void fail(std::string text);
    void reset();

    Sink sink_;
    JsonLexer lexer_;
    std::vector<JsonToken> tokens_;
    std::uint64_t bytes_ = 0;
    std::int64_t braces_ = 0, brackets_ = 0;
};

// Exactly one value. errors: "JSON parse error, ..."
Result<Value> parse_json(std::string_view text);

}  // namespace blocklayer
