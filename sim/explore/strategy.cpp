// SPDX-License-Identifier: Apache-2.0
#include "sim/explore/strategy.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <unordered_set>

#include "sim/explore/run_log.hpp"

namespace sim::explore {
namespace {

constexpr std::uint32_t depth_max = 100;
constexpr std::string_view portfolio =
    "few:1,swarm,pct:2,random,swarm+few:1,pct:3,few:2,swarm+pct:3,few:3";

// Counts picks and who took part in them, while the world runs: it may be dropped much later.
class Counter final : public Schedule {
public:
    Counter(std::unique_ptr<Schedule> inner, Measured& measured)
        : inner_(std::move(inner)), measured_(measured) {}
    std::uint32_t choose(std::uint32_t n, Label label) override {
        return inner_->choose(n, label);
    }
    std::uint32_t fault(std::uint32_t n, Label site) override { return inner_->fault(n, site); }
    std::uint32_t pick(std::span<const Candidate> ready) override {
        for (const Candidate& event : ready) seen_.insert(event.id);
        measured_.picks = std::max(measured_.picks, ++picks_);
        measured_.runnables = std::max<std::uint64_t>(measured_.runnables, seen_.size());
        return inner_->pick(ready);
    }

private:
    std::unique_ptr<Schedule> inner_;
    Measured& measured_;
    std::uint64_t picks_ = 0;
    std::unordered_set<std::uint64_t> seen_;
};

std::optional<Strategy> parse_one(std::string_view text) {
    Strategy strategy{Strategy::Kind::random};
    if (text == "swarm") {
        strategy.swarm = true;
        return strategy;
    }
    constexpr std::string_view swarm = "swarm+";
    if (text.starts_with(swarm)) {
        strategy.swarm = true;
        text.remove_prefix(swarm.size());
    }
    const std::size_t colon = text.find(':');
    const std::string_view name = text.substr(0, colon);
    if (name == "fifo" || name == "random") {
        if (name == "fifo") strategy.kind = Strategy::Kind::fifo;
        return colon == text.npos ? std::optional(strategy) : std::nullopt;
    }
    if (name != "few" && name != "pct") return std::nullopt;
    strategy.kind = name == "few" ? Strategy::Kind::few : Strategy::Kind::pct;
    strategy.depth = name == "few" ? 1 : 3;
    if (colon != text.npos) {
        const std::string_view number = text.substr(colon + 1);
        const auto [end, error] =
            std::from_chars(number.data(), number.data() + number.size(), strategy.depth);
        if (error != std::errc() || end != number.data() + number.size()) return std::nullopt;
    }
    if (strategy.depth == 0 || strategy.depth > depth_max) return std::nullopt;
    return strategy;
}

}  // namespace

std::string Strategy::name() const {
    const std::string prefix = swarm ? "swarm+" : "";
    switch (kind) {
    case Kind::fifo: return prefix + "fifo";
    case Kind::random: return prefix + "random";
    case Kind::few: return fmt::format("{}few:{}", prefix, depth);
    case Kind::pct: return fmt::format("{}pct:{}", prefix, depth);
    }
    return prefix;
}

Expected<std::vector<Strategy>, std::string> parse_strategies(std::string_view text) {
    if (text == "portfolio") text = portfolio;
    std::vector<Strategy> strategies;
    while (true) {
        const std::size_t comma = text.find(',');
        const auto strategy = parse_one(text.substr(0, comma));
        if (!strategy)
            return Unexpected(fmt::format(
                "no strategy '{}' (known: portfolio, fifo, random, few:N, pct:N, swarm, "
                "swarm+few:N, swarm+pct:N, and several with commas between them)",
                text.substr(0, comma)));
        strategies.push_back(*strategy);
        if (comma == text.npos) return strategies;
        text.remove_prefix(comma + 1);
    }
}

Measured measure(const Trial& trial, std::uint64_t seed, std::uint64_t random_runs) {
    Measured measured;
    trial({seed, std::make_unique<Counter>(fifo_schedule(), measured)});
    for (std::uint64_t i = 1; i <= random_runs; ++i)
        trial({seed + i, std::make_unique<Counter>(random_schedule(seed + i), measured)});
    return measured;
}

const Strategy& strategy_of_run(const std::vector<Strategy>& strategies, std::uint64_t run) {
    static const Strategy fifo{Strategy::Kind::fifo};
    return run == 0 ? fifo : strategies[(run - 1) % strategies.size()];
}

std::unique_ptr<Schedule> make_schedule(const Strategy& strategy, std::uint64_t seed,
                                        const Measured& measured) {
    std::unique_ptr<Schedule> schedule;
    switch (strategy.kind) {
    case Strategy::Kind::fifo: schedule = fifo_schedule(); break;
    case Strategy::Kind::random: schedule = random_schedule(seed); break;
    case Strategy::Kind::few:
        schedule = few_schedule(seed, strategy.depth, measured.picks);
        break;
    case Strategy::Kind::pct:
        schedule = pct_schedule(seed, strategy.depth, measured.picks);
        break;
    }
    return strategy.swarm ? swarm_schedule(seed, std::move(schedule)) : std::move(schedule);
}

double pct_miss_bound(std::uint64_t runs, std::uint32_t depth, const Measured& measured) {
    const auto n = static_cast<double>(measured.runnables);
    const auto k = static_cast<double>(measured.picks);
    const double hit = 1.0 / (n * std::pow(k, static_cast<double>(depth) - 1.0));
    return std::exp(static_cast<double>(runs) * std::log1p(-std::min(hit, 1.0 - 1e-12)));
}

}  // namespace sim::explore
