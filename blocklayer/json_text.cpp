// SPDX-License-Identifier: Apache-2.0
#include "blocklayer/json_text.hpp"

#include <fmt/format.h>

#include "blocklayer/options/member_order.hpp"
#include "blocklayer/utf8.hpp"

namespace blocklayer {
namespace {

class Writer {
public:
    explicit Writer(bool pretty) : pretty_(pretty) {}

    void value(const Value& value) {
        if (value.is_null())
            out_ += "null";
        else if (value.is_bool())
            out_ += value.as_bool() ? "true" : "false";
        else if (value.is_int())
            fmt::format_to(std::back_inserter(out_), "{}", value.as_int());
        else if (value.is_uint())
            fmt::format_to(std::back_inserter(out_), "{}", value.as_uint());
        else if (value.is_double())
            fmt::format_to(std::back_inserter(out_), "{:.17g}", value.as_double());
        else if (value.is_string())
            string(value.as_string());
        else if (value.is_list())
            list(value);
        else
            dict(value);
    }

    std::string take() { return std::move(out_); }

private:
    void string(std::string_view text) {
        out_ += '"';
        while (!text.empty()) {
            const auto point = decode_utf8(text);
            if (!point) {
                out_ += "\\uFFFD";
                text.remove_prefix(invalid_bytes(text));
                continue;
            }
            character(point->value);
            text.remove_prefix(point->bytes);
        }
        out_ += '"';
    }

    // A broken sequence is shown as one character: its first byte and what continues it.
    static std::size_t invalid_bytes(std::string_view text) {
        const auto first = static_cast<unsigned char>(text[0]);
        const std::size_t wanted = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : first >= 0xc0 ? 2 : 1;
        std::size_t bytes = 1;
        while (bytes < wanted && bytes < text.size() &&
               (static_cast<unsigned char>(text[bytes]) & 0xc0) == 0x80)
            ++bytes;
        return bytes;
    }

    void character(std::uint32_t point) {
        switch (point) {
        case '"': out_ += "\\\""; return;
        case '\\': out_ += "\\\\"; return;
        case '\b': out_ += "\\b"; return;
        case '\f': out_ += "\\f"; return;
        case '\n': out_ += "\\n"; return;
        case '\r': out_ += "\\r"; return;
        case '\t': out_ += "\\t"; return;
        default: break;
        }
        const auto escape = std::back_inserter(out_);
        if (point >= 0x10000)
            fmt::format_to(escape, "\\u{:04X}\\u{:04X}", 0xd800 + ((point - 0x10000) >> 10),
                           0xdc00 + ((point - 0x10000) & 0x3ff));
        else if (point < 0x20 || point >= 0x7f)
            fmt::format_to(escape, "\\u{:04X}", point);
        else
            out_ += static_cast<char>(point);
    }

    void separate(bool first) {
        if (!first) out_ += pretty_ ? "," : ", ";
        if (pretty_) {
            out_ += '\n';
            out_.append(4 * depth_, ' ');
        }
    }

    void close(bool empty, char bracket) {
        --depth_;
        if (pretty_ && !empty) separate(true);
        out_ += bracket;
    }

    void list(const Value& value) {
        out_ += '[';
        ++depth_;
        bool first = true;
        for (const Value& item : value.items()) {
            separate(std::exchange(first, false));
            this->value(item);
        }
        close(first, ']');
    }

    void dict(const Value& value) {
        out_ += '{';
        ++depth_;
        bool first = true;
        for (const Value::Member* member : wire_order(value)) {
            separate(std::exchange(first, false));
            string(member->first);
            out_ += ": ";
            this->value(member->second);
        }
        close(first, '}');
    }

    bool pretty_;
    std::size_t depth_ = 0;
    std::string out_;
};

std::string write(const Value& value, bool pretty) {
    Writer writer(pretty);
    writer.value(value);
    return writer.take();
}

}  // namespace

std::string to_json(const Value& value) { return write(value, false); }
std::string to_json_pretty(const Value& value) { return write(value, true); }

}  // namespace blocklayer
