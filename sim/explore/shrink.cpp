// SPDX-License-Identifier: Apache-2.0
#include "sim/explore/shrink.hpp"

#include <algorithm>
#include <map>

namespace sim::explore {
namespace {

constexpr std::size_t moves_wanted = 3;  // above it a shorter way is looked for
constexpr std::uint64_t short_ways = 300;
constexpr int rounds_max = 4;
constexpr int renumber_max = 3;  // what one operation may have asked or started of one name

class Shrinker {
public:
    Shrinker(const Trial& trial, Shrunk& best, std::string signature, const ShrinkOptions& options)
        : trial_(trial), best_(best), signature_(std::move(signature)), options_(options) {}

    void shrink() {
        for (int round = 0; round < rounds_max; ++round) {
            const std::size_t before = cost();
            drop_operations();
            for (const ChoiceKind kind :
                 {ChoiceKind::fault, ChoiceKind::value, ChoiceKind::feature})
                drop_answers(kind);
            drop_moves();
            if (best_.plan.moves.size() > moves_wanted) find_short_way();
            if (cost() == before || !more()) return;
        }
    }

    // Runs the plan; keeps it if the failure is still there.
    bool accept(const Plan& plan, std::unique_ptr<Schedule> order = nullptr) {
        if (!more()) return false;
        ++best_.runs;
        RunLog log;
        Verdict verdict =
            trial_({best_.seed, recorder(plan_schedule(plan, std::move(order)), log)});
        if (!verdict.failed || verdict.signature != signature_) return false;
        best_.plan = plan;
        best_.log = std::move(log);
        best_.verdict = std::move(verdict);
        return true;
    }

private:
    bool more() const {
        return best_.runs < options_.runs_max && (!options_.go_on || options_.go_on());
    }

    std::size_t cost() const {
        return sizes_of(best_.log).operations + best_.plan.answers.size() + best_.plan.moves.size();
    }

    // Delta debugging: makes `items` smaller as long as `test(fewer)` holds. Large pieces first;
    // from the end, because what comes late in a run is more often beside the point.
    template <class Item, class Test>
    void minimise(std::vector<Item> items, const Test& test) {
        if (items.empty() || test(std::vector<Item>())) return;
        for (std::size_t piece = std::max<std::size_t>(items.size() / 2, 1);;) {
            bool smaller = false;
            for (std::size_t end = items.size(); end > 0 && more();) {
                const std::size_t begin = end > piece ? end - piece : 0;
                std::vector<Item> fewer(items.begin(), items.begin() + std::ptrdiff_t(begin));
                fewer.insert(fewer.end(), items.begin() + std::ptrdiff_t(end), items.end());
                if (!fewer.empty() && test(fewer)) {
                    items = std::move(fewer);
                    smaller = true;
                }
                end = begin;
            }
            if (!more() || (piece == 1 && !smaller)) return;
            if (piece > 1) piece = std::max<std::size_t>(std::min(piece, items.size()) / 2, 1);
        }
    }

    // The operations that were done, as answers that leave them out.
    std::vector<Answer> operations() const {
        std::map<std::uint64_t, std::uint32_t> asked;
        std::vector<Answer> done;
        for (const Choice& choice : best_.log.choices) {
            if (choice.kind != ChoiceKind::operation) continue;
            const std::uint32_t occurrence = asked[choice.label.hash()]++;
            if (choice.k == 0) done.push_back({choice.kind, choice.label, occurrence, 1});
        }
        return done;
    }

    void drop_operations() {
        const std::vector<Answer> done = operations();
        const Plan start = best_.plan;
        minimise(done, [&](const std::vector<Answer>& kept) {
            Plan plan = start;
            for (const Answer& operation : done) {
                const bool keep =
                    std::any_of(kept.begin(), kept.end(), [&](const Answer& other) {
                        return other.label.hash() == operation.label.hash() &&
                               other.occurrence == operation.occurrence;
                    });
                if (!keep) plan.answers.push_back(operation);
            }
            return accept(plan);
        });
        while (more() && drop_and_renumber()) {
        }
    }

    // Without an operation others may be the second of their name that were the third: drops one
    // and counts what the plan names anew.
    bool drop_and_renumber() {
        std::vector<std::uint64_t> labels{0};  // 0: all
        for (const Answer& answer : best_.plan.answers)
            if (answer.kind != ChoiceKind::operation && answer.occurrence > 0)
                labels.push_back(answer.label.hash());
        for (const Move& move : best_.plan.moves)
            if (move.event.ordinal > 0) labels.push_back(move.event.label.hash());
        std::sort(labels.begin(), labels.end());
        labels.erase(std::unique(labels.begin(), labels.end()), labels.end());
        if (labels.size() == 1) return false;
        for (const Answer& operation : operations())
            for (const std::uint64_t label : labels) {
                Plan plan = best_.plan;
                for (int by = 1; by <= renumber_max; ++by) {
                    plan = renumbered(std::move(plan), label);
                    Plan without = plan;
                    without.answers.push_back(operation);
                    if (accept(without)) return true;
                }
            }
        return false;
    }

    static Plan renumbered(Plan plan, std::uint64_t label) {
        const auto lower = [&](std::uint32_t& number, const Label& of) {
            if (number > 0 && (label == 0 || of.hash() == label)) --number;
        };
        for (Answer& answer : plan.answers)
            if (answer.kind != ChoiceKind::operation) lower(answer.occurrence, answer.label);
        for (Move& move : plan.moves) {
            lower(move.event.ordinal, move.event.label);
            lower(move.after.ordinal, move.after.label);
        }
        return plan;
    }

    void drop_answers(ChoiceKind kind) {
        std::vector<Answer> rest, items;
        for (const Answer& answer : best_.plan.answers)
            (answer.kind == kind ? items : rest).push_back(answer);
        minimise(items, [&](const std::vector<Answer>& kept) {
            Plan plan{best_.plan.moves, rest};
            plan.answers.insert(plan.answers.end(), kept.begin(), kept.end());
            return accept(plan);
        });
    }

    void drop_moves() {
        minimise(best_.plan.moves,
                 [&](const std::vector<Move>& kept) { return accept({kept, best_.plan.answers}); });
        // What the run made of the plan may need fewer words than the plan.
        const Plan told = plan_of(best_.log);
        if (told.moves.size() < best_.plan.moves.size()) accept(told);
    }

    // The failure may have another cause with fewer moves: tries a few at random.
    void find_short_way() {
        const std::uint64_t picks = std::max<std::uint64_t>(best_.log.ran.size(), 1);
        const Shrunk before = best_;
        for (std::uint64_t i = 0; i < short_ways && more(); ++i) {
            const auto moves = static_cast<std::uint32_t>(1 + i % moves_wanted);
            if (!accept({{}, before.plan.answers}, few_schedule(best_.seed + i, moves, picks)))
                continue;
            const Plan told = plan_of(best_.log);
            if (told.moves.size() < before.plan.moves.size() && accept(told)) {
                drop_moves();
                return;
            }
            const std::uint64_t runs = best_.runs;
            best_ = before;
            best_.runs = runs;
        }
    }

    const Trial& trial_;
    Shrunk& best_;
    std::string signature_;
    const ShrinkOptions& options_;
};

}  // namespace

Sizes sizes_of(const RunLog& log) {
    Sizes sizes;
    for (const Choice& choice : log.choices) switch (choice.kind) {
        case ChoiceKind::order: break;
        case ChoiceKind::operation: sizes.operations += choice.k == 0 ? 1 : 0; break;
        case ChoiceKind::fault: sizes.faults += choice.k != 0 ? 1 : 0; break;
        case ChoiceKind::value:
        case ChoiceKind::feature: sizes.values += choice.k != 0 ? 1 : 0; break;
        }
    sizes.moves = plan_of(log).moves.size();
    return sizes;
}

Shrunk shrink(const Trial& trial, std::uint64_t seed, const std::vector<Choice>& choices,
              const std::string& signature, const ShrinkOptions& options) {
    Shrunk best;
    best.seed = seed;
    best.runs = 1;
    best.verdict = trial({seed, recorder(replay_schedule(choices, seed), best.log)});
    best.before = best.after = sizes_of(best.log);
    best.plan = plan_of(best.log);
    if (!best.verdict.failed || best.verdict.signature != signature) return best;
    Shrinker shrinker(trial, best, signature, options);
    best.reproduced = shrinker.accept(best.plan);
    if (!best.reproduced) return best;
    shrinker.shrink();
    best.after = sizes_of(best.log);
    return best;
}

}  // namespace sim::explore
