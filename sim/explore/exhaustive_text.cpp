// SPDX-License-Identifier: Apache-2.0
// An exhaustive search as text: numbers with spaces in between, each list after its length.
#include <fmt/format.h>

#include <charconv>
#include <limits>

#include "sim/explore/exhaustive.hpp"

namespace sim::explore {
namespace {

constexpr std::string_view frontier_mark = "blockstep-frontier-2";
constexpr std::uint64_t list_max = 50'000'000;

class Writer {
public:
    std::string text;
    void put(std::uint64_t number) { text += fmt::format("{} ", number); }
    template <class T>
    void put(const std::vector<T>& all) {
        put(all.size());
        for (const T& one : all) put(one);
    }
    void put(const Tried& tried) {
        put(tried.event);
        put(tried.touched.size());
        for (const Touch& touch : tried.touched) {
            put(touch.subject);
            put(static_cast<std::uint64_t>(touch.access));
        }
    }
    void put(const Departure& departure) {
        put(departure.choice);
        put(departure.k);
        put(departure.before);
    }
    void put(const Prefix& prefix) {
        put(prefix.choices);
        put(prefix.departures);
    }
    void put(const Reversal::Beginning& beginning) {
        put(beginning.k);
        put(beginning.tried);
    }
    void put(const Reversal& reversal) {
        put(reversal.departures);
        put(reversal.choice);
        put(reversal.picked);
        put(reversal.beginnings);
    }
    void put(const Portion& portion) {
        put(portion.from);
        put(portion.to);
        put(portion.prefix);
    }
};

class Reader {
public:
    explicit Reader(std::string_view text) : text_(text) {}
    bool failed() const { return failed_; }
    // All was read, and nothing is wrong.
    bool complete() {
        skip();
        return !failed_ && text_.empty();
    }

    template <class T>
    T take(std::uint64_t max = std::numeric_limits<T>::max()) {
        skip();
        std::uint64_t value = 0;
        const auto [end, error] =
            std::from_chars(text_.data(), text_.data() + text_.size(), value);
        if (error != std::errc() || value > max) failed_ = true;
        if (failed_) return 0;
        text_.remove_prefix(static_cast<std::size_t>(end - text_.data()));
        return static_cast<T>(value);
    }
    template <class T>
    std::vector<T> list(T (Reader::*one)()) {
        std::vector<T> all;
        for (auto n = take<std::uint64_t>(list_max); n > 0 && !failed_; --n)
            all.push_back((this->*one)());
        return all;
    }
    Touch touch() {
        const auto subject = take<std::uint64_t>();
        return {subject, static_cast<Access>(take<std::uint8_t>(1))};
    }
    Tried tried() {
        const auto event = take<std::uint64_t>();
        return {event, list(&Reader::touch)};
    }
    Departure departure() {
        Departure one{take<std::uint32_t>(), 0, {}};
        one.k = take<std::uint32_t>();
        one.before = list(&Reader::tried);
        return one;
    }
    Prefix prefix() {
        Prefix one{{}, take<std::uint32_t>()};
        one.departures = list(&Reader::departure);
        return one;
    }
    Reversal::Beginning beginning() {
        const auto k = take<std::uint32_t>();
        return {k, tried()};
    }
    Reversal reversal() {
        Reversal one{list(&Reader::departure), 0, {}, {}};
        one.choice = take<std::uint32_t>();
        one.picked = tried();
        one.beginnings = list(&Reader::beginning);
        if (one.beginnings.empty()) failed_ = true;
        return one;
    }
    Portion portion() {
        Portion one;
        one.from = take<std::uint32_t>();
        one.to = take<std::uint32_t>();
        one.prefix = prefix();
        if (one.from > one.to) failed_ = true;
        return one;
    }
    std::uint32_t number() { return take<std::uint32_t>(); }

private:
    void skip() {
        while (!text_.empty() && (text_[0] == ' ' || text_[0] == '\n')) text_.remove_prefix(1);
    }
    std::string_view text_;
    bool failed_ = false;
};

}  // namespace

std::string to_text(const Portion& portion) {
    Writer writer;
    writer.put(portion);
    return writer.text;
}

Expected<Portion, std::string> parse_portion(std::string_view text) {
    Reader reader(text);
    Portion portion = reader.portion();
    if (!reader.complete()) return Unexpected(std::string("a damaged portion"));
    return portion;
}

std::string to_text(const Growth& growth) {
    Writer writer;
    writer.put(growth.prefixes);
    writer.put(growth.reversals);
    return writer.text;
}

Expected<Growth, std::string> parse_growth(std::string_view text) {
    Reader reader(text);
    Growth growth;
    growth.prefixes = reader.list(&Reader::prefix);
    growth.reversals = reader.list(&Reader::reversal);
    if (!reader.complete()) return Unexpected(std::string("damaged results of a portion"));
    return growth;
}

std::string Frontier::to_text() const {
    Writer writer;
    for (const std::uint64_t number :
         {std::uint64_t{limits_.departures}, std::uint64_t{limits_.preemptions},
          std::uint64_t{limits_.depth}, std::uint64_t{limits_.reduce == Reduce::yes}, runs_,
          commuting_, std::uint64_t{cut_}})
        writer.put(number);
    writer.put(levels_.size());
    for (const Level& level : levels_) {
        writer.put(level.done);
        writer.put(std::vector(level.left.begin(), level.left.end()));
        writer.text += '\n';
    }
    writer.put(tried_.size());
    for (const auto& [where, tried] : tried_) {
        writer.put(where.size());
        for (const std::uint32_t number : where) writer.put(std::uint64_t{number});
        writer.put(tried);
        writer.text += '\n';
    }
    return fmt::format("{}\n{}", frontier_mark, writer.text);
}

Expected<Frontier, std::string> Frontier::parse(std::string_view text) {
    if (!text.starts_with(frontier_mark)) return Unexpected(std::string("not a frontier"));
    Reader reader(text.substr(frontier_mark.size()));
    Frontier frontier;
    frontier.limits_.departures = reader.take<std::uint32_t>();
    frontier.limits_.preemptions = reader.take<std::uint32_t>();
    frontier.limits_.depth = reader.take<std::uint32_t>();
    frontier.limits_.reduce = reader.take<std::uint8_t>(1) != 0 ? Reduce::yes : Reduce::no;
    frontier.runs_ = reader.take<std::uint64_t>();
    frontier.commuting_ = reader.take<std::uint64_t>();
    frontier.cut_ = reader.take<std::uint8_t>(1) != 0;
    frontier.levels_.clear();
    for (auto n = reader.take<std::uint64_t>(list_max); n > 0 && !reader.failed(); --n) {
        Level& level = frontier.levels_.emplace_back();
        level.done = level.known = reader.take<std::uint64_t>();
        for (Portion& portion : reader.list(&Reader::portion)) {
            level.known += size_of(portion);
            level.left.push_back(std::move(portion));
        }
    }
    for (auto n = reader.take<std::uint64_t>(list_max); n > 0 && !reader.failed(); --n) {
        const std::vector<std::uint32_t> where = reader.list(&Reader::number);
        frontier.tried_[where] = reader.list(&Reader::tried);
    }
    if (!reader.complete()) return Unexpected(std::string("a damaged frontier"));
    return frontier;
}

}  // namespace sim::explore
