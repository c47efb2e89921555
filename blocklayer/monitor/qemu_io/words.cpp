// SPDX-License-Identifier: Apache-2.0
// Options, numbers and the report, as qemu-io reads and prints them.
#include <fmt/format.h>

#include <cctype>
#include <charconv>
#include <cmath>
#include <cstdlib>

#include "blocklayer/monitor/qemu_io/qemu_io.hpp"
#include "sim/check.hpp"

namespace blocklayer::qemu_io {
namespace {

enum class NumberFault : std::uint8_t { malformed, too_large };
using Number = sim::Expected<std::uint64_t, NumberFault>;

std::uint64_t suffix_factor(char suffix) {
    switch (std::toupper(static_cast<unsigned char>(suffix))) {
    case 'B': return 1;
    case 'K': return 1ull << 10;
    case 'M': return 1ull << 20;
    case 'G': return 1ull << 30;
    case 'T': return 1ull << 40;
    case 'P': return 1ull << 50;
    case 'E': return 1ull << 60;
    default: return 0;
    }
}

// "512", "0x200", "1.5k": not negative, at most one suffix, a fraction only of what a suffix gives.
Number read_size(std::string_view text) {
    const auto malformed = Unexpected(NumberFault::malformed);
    const auto too_large = Unexpected(NumberFault::too_large);
    const bool hex = text.starts_with("0x") || text.starts_with("0X");
    const std::string_view digits = hex ? text.substr(2) : text;
    std::uint64_t whole = 0;
    const auto [end, ec] =
        std::from_chars(digits.data(), digits.data() + digits.size(), whole, hex ? 16 : 10);
    if (ec == std::errc::invalid_argument) return malformed;
    std::string_view rest(end, static_cast<std::size_t>(digits.data() + digits.size() - end));

    double fraction = 0;
    if (!hex && rest.starts_with('.')) {
        rest.remove_prefix(1);
        for (double place = 0.1; !rest.empty() && std::isdigit(static_cast<unsigned char>(rest[0]));
             place /= 10) {
            fraction += place * (rest[0] - '0');
            rest.remove_prefix(1);
        }
    }
    std::uint64_t factor = 1;
    if (!rest.empty()) {
        factor = suffix_factor(rest[0]);
        if (factor == 0 || rest.size() > 1 || hex) return malformed;
    }
    if (fraction > 0 && factor == 1) return malformed;
    if (ec == std::errc::result_out_of_range || whole > UINT64_MAX / factor) return too_large;
    const std::uint64_t size =
        whole * factor + static_cast<std::uint64_t>(fraction * static_cast<double>(factor) + 0.5);
    if (size > INT64_MAX) return too_large;
    return size;
}

std::string stopwatch(sim::Duration took, Style style) {
    const std::int64_t hundredths = took.ns / 10'000'000 % 100;
    const std::int64_t seconds = took.ns / 1'000'000'000;
    const std::int64_t h = seconds / 3600, m = seconds / 60 % 60, s = seconds % 60;
    if (style == Style::machine || h > 0)
        return fmt::format("{}:{:02}:{:02}.{:02}", h, m, s, hundredths);
    if (m > 0) return fmt::format("{:02}:{:02}.{:02}", m, s, hundredths);
    return fmt::format("{:02}.{:02} sec", s, hundredths);
}

}  // namespace

bool Options::has(char option) const { return value(option) != nullptr; }

const std::string* Options::value(char option) const {
    for (auto one = given.rbegin(); one != given.rend(); ++one)
        if (one->first == option) return &one->second;
    return nullptr;
}

std::optional<Options> parse_options(const Call& call, std::string_view accepted) {
    Options options;
    const auto refuse = [&](std::string_view fault, char option) {
        call.complain(fmt::format("{}: {} -- '{}'", call.words[0], fault, option));
        call.usage();
        return std::nullopt;
    };
    bool only_words = false;
    for (std::size_t i = 1; i < call.words.size(); ++i) {
        const std::string& word = call.words[i];
        if (only_words || word.size() < 2 || word[0] != '-') {
            options.rest.push_back(word);
            continue;
        }
        if (word == "--") {
            only_words = true;
            continue;
        }
        for (std::size_t at = 1; at < word.size(); ++at) {
            const std::size_t place = accepted.find(word[at]);
            if (word[at] == ':' || place == std::string_view::npos)
                return refuse("invalid option", word[at]);
            if (!accepted.substr(place + 1).starts_with(':')) {
                options.given.emplace_back(word[at], "");
                continue;
            }
            std::string value = word.substr(at + 1);
            if (value.empty()) {
                if (i + 1 == call.words.size())
                    return refuse("option requires an argument", word[at]);
                value = call.words[++i];
            }
            options.given.emplace_back(word[at], std::move(value));
            break;
        }
    }
    return options;
}

std::optional<std::uint64_t> parse_number(const Call& call, const std::string& text) {
    const Number number = read_size(text);
    if (number) return *number;
    call.say(number.error() == NumberFault::too_large
                 ? fmt::format("Parsing error: argument too large -- {}", text)
                 : fmt::format("Parsing error: non-numeric argument, or extraneous/unrecognized "
                               "suffix -- {}",
                               text));
    return std::nullopt;
}

std::optional<std::uint8_t> parse_pattern(const Call& call, const std::string& text) {
    char* end = nullptr;
    const long pattern = std::strtol(text.c_str(), &end, 0);
    if (end != text.c_str() && *end == '\0' && pattern >= 0 && pattern <= UINT8_MAX)
        return static_cast<std::uint8_t>(pattern);
    call.say(fmt::format("{} is not a valid pattern byte", text));
    return std::nullopt;
}

std::string human_bytes(double bytes) {
    constexpr std::string_view units[] = {"EiB", "PiB", "TiB", "GiB", "MiB", "KiB"};
    double scale = std::exp2(60);
    for (const std::string_view unit : units) {
        if (bytes >= scale) {
            std::string number = fmt::format("{:.3f}", bytes / scale);
            if (number.ends_with(".000")) number.resize(number.size() - 4);
            return fmt::format("{} {}", number, unit);
        }
        scale /= 1024;
    }
    if (bytes == std::floor(bytes)) return fmt::format("{:.0f} bytes", bytes);
    return fmt::format("{:f} bytes", bytes);
}

void report(const Call& call, std::string_view verb, Style style, std::uint64_t offset,
            std::uint64_t wanted, std::uint64_t done, sim::Duration took) {
    // Work that takes no simulated time still has a rate to show.
    const sim::Duration span = std::max(took, sim::microseconds(1));
    const double seconds = static_cast<double>(span.ns) / 1e9;
    const double bytes_rate = static_cast<double>(done) / seconds, ops_rate = 1 / seconds;
    if (style == Style::machine)
        return call.say(fmt::format("{},1,{},{:.3f},{:.3f}", done, stopwatch(took, style),
                                    bytes_rate, ops_rate));
    call.say(fmt::format("{} {}/{} bytes at offset {}", verb, done, wanted, offset));
    call.say(fmt::format("{}, 1 ops; {} ({}/sec and {:.4f} ops/sec)",
                         human_bytes(static_cast<double>(done)), stopwatch(took, style),
                         human_bytes(bytes_rate), ops_rate));
}

}  // namespace blocklayer::qemu_io
