// SPDX-License-Identifier: Apache-2.0
// Holds:   what the reader takes is what the writer gave; faults are worded and resynchronised as
//          in the reference, whatever pieces the text comes in; hostile text costs bounded work.
// Method:  examples seen on the real program; the same text cut at every place.
#include "blocklayer/monitor/json.hpp"

#include "sim/testing/catch.hpp"

namespace blocklayer {
namespace {

std::vector<std::string> outcomes(std::vector<std::string_view> pieces) {
    std::vector<std::string> seen;
    JsonReader reader(
        [&](Result<Value> value) { seen.push_back(value ? to_json(*value) : value.error().text); });
    for (const std::string_view piece : pieces) reader.feed(piece);
    return seen;
}

TEST_CASE("json: members are written in the wire's order", "[json]") {
    const Value reply = Value::dict({{"QMP", Value::dict({{"capabilities", Value::list({"oob"})},
                                                          {"version", Value::dict({})}})},
                                     {"id", 5},
                                     {"return", Value()},
                                     {"error", true}});
    CHECK(to_json(reply) == R"({"QMP": {"version": {}, "capabilities": ["oob"]}, )"
                            R"("return": null, "id": 5, "error": true})");
}

TEST_CASE("json: numbers and strings are written as the reference writes them", "[json]") {
    CHECK(to_json(*parse_json("[1.5,1e3,1e-7,0.1,1e20,-0.0,-0,1e400]")) ==
          "[1.5, 1000, 9.9999999999999995e-08, 0.10000000000000001, 1e+20, -0, 0, inf]");
    CHECK(to_json(*parse_json("[18446744073709551615,18446744073709551616,"
                              "-9223372036854775808,-9223372036854775809]")) ==
          "[18446744073709551615, 1.8446744073709552e+19, -9223372036854775808, "
          "-9.2233720368547758e+18]");
    CHECK(to_json(*parse_json(R"('\u00e9\ud83d\ude00/\u007f\u0000\b"')")) ==
          R"("\u00E9\uD83D\uDE00/\u007F\u0000\b\"")");
    CHECK(to_json(Value("a\xc3(\xff")) == R"("a\uFFFD(\uFFFD")");
    CHECK(to_json_pretty(*parse_json(R"({"a":[1,{}],"b":[]})")) ==
          "{\n    \"a\": [\n        1,\n        {}\n    ],\n    \"b\": []\n}");
}

TEST_CASE("json: a fault costs its message, wherever the text is cut", "[json]") {
    const std::string text = R"({"a":1]{"b":tru e}[1,]{'c':01}"x)"
                             "\n{\"d\":\"\\q\"}{5:6}{\"e\" 5}{\"f\":1,\"f\":2}\"\xed\xa0\x80\" 7 ";
    const std::vector<std::string> expected = {
        "JSON parse error, expected separator in dict",
        "JSON parse error, invalid keyword 'tru'",
        "JSON parse error, expecting value",
        "JSON parse error, stray '01'",
        "JSON parse error, expecting value",
        "JSON parse error, stray '\"x\n'",
        "JSON parse error, invalid escape sequence in string",
        "JSON parse error, key is not a string in object",
        "JSON parse error, missing : in object pair",
        "JSON parse error, duplicate key",
        "JSON parse error, invalid UTF-8 sequence in string",
        "7"};
    for (std::size_t cut = 0; cut <= text.size(); ++cut) {
        const std::string_view all = text;
        CHECK(outcomes({all.substr(0, cut), all.substr(cut)}) == expected);
    }
}

TEST_CASE("json: nesting and size are bounded, and reading goes on", "[json]") {
    const std::string deep(json_nesting_max, '['), closed(json_nesting_max, ']');
    CHECK(outcomes({deep, closed}).size() == 1);
    CHECK(outcomes({deep, "[", "1 "}) ==
          std::vector<std::string>{"JSON nesting depth limit exceeded", "1"});

    const std::string piece(1 << 20, 'x');
    std::vector<std::string_view> long_string(json_bytes_max / piece.size() + 1, piece);
    long_string.insert(long_string.begin(), "\"");
    long_string.push_back("\n2 ");
    CHECK(outcomes(long_string) == std::vector<std::string>{"JSON token size limit exceeded", "2"});
}

TEST_CASE("json: one value is one value", "[json]") {
    CHECK(parse_json("5")->as_int() == 5);
    CHECK(parse_json("").error().text == "JSON parse error, expecting value");
    CHECK(parse_json("{").error().text == "JSON parse error, premature EOI");
    CHECK_FALSE(parse_json("5 6").has_value());
}

}  // namespace
}  // namespace blocklayer
