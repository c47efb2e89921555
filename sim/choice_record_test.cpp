// SPDX-License-Identifier: Apache-2.0
// Holds:   a record reads back as it was written, and no text does harm.
// Method:  one run recorded, written, parsed and replayed; broken texts; random damage.
#include "sim/choice_record.hpp"

#include "sim/rng.hpp"
#include "sim/testing/catch.hpp"
#include "sim/world.hpp"

namespace sim {
namespace {

std::string error_of(std::string_view text) {
    const auto parsed = parse_choice_record(text);
    return parsed ? "accepted" : parsed.error();
}

TEST_CASE("choice_record: a run written down and replayed is the same run") {
    const auto run = [](std::unique_ptr<Schedule> schedule, std::vector<Choice>* choices) {
        World world({.schedule = std::move(schedule), .record_choices = true});
        for (int i = 0; i < 5; ++i)
            world.spawn(world.main_thread(), "worker", [](Co& co) {
                for (int turn = 0; turn < 10; ++turn) {
                    co.yield("turn");
                    co.world().emit("drew", {}, co.world().choose(7, "a choice, of 7"));
                }
            });
        world.run_until_idle();
        *choices = world.choices();
        return world.trace().digest();
    };
    ChoiceRecord record{{{"seed", "5"}, {"scenario", "a=b c"}}, {}};
    std::vector<Choice> replayed;
    const std::uint64_t digest = run(random_schedule(5), &record.choices);
    const auto parsed = parse_choice_record(to_text(record));
    REQUIRE(parsed);
    CHECK(parsed->headers == record.headers);
    std::string diverged;
    CHECK(run(replay_schedule(parsed->choices, 1, &diverged), &replayed) == digest);
    CHECK(diverged.empty());
    record.choices = replayed;
    CHECK(to_text(record) == to_text(*parsed));
}

TEST_CASE("choice_record: runs are counted, labels may hold anything but line ends") {
    const Choice odd{Label::interned("label 5 x3"), 2, 1};
    const Choice order{"mirror copy", 3, 2, ChoiceKind::order};
    const ChoiceRecord record{
        {}, {order, odd, odd, odd, {"a", 2, 0}, {"b", 3, 0, ChoiceKind::fault}, order}};
    const std::string text = to_text(record);
    CHECK(text ==
          "blockstep choices 2\n\norder mirror copy 3 2\nvalue label 5 x3 2 1 x3\nordinary 2\n"
          "order mirror copy 3 2\n");
    const auto parsed = parse_choice_record(text);
    REQUIRE(parsed);
    REQUIRE(parsed->choices.size() == 7);
    CHECK(parsed->choices[3].label.hash() == odd.label.hash());
    CHECK(parsed->choices[6].kind == ChoiceKind::order);
    CHECK(to_text(*parsed) == text);
}

TEST_CASE("choice_record: broken texts are refused with the line") {
    const std::string head = "blockstep choices 2\n";
    CHECK(error_of(head) == "accepted");
    CHECK(error_of("") == "line 0: not a record: it should be 'blockstep choices 2'");
    CHECK(error_of("blockstep choices 1\n").starts_with("line 1: not a record"));
    CHECK(error_of(head + "seed\n") == "line 2: not a key=value");
    CHECK(error_of(head + "a=1\na=2\n") == "line 3: a key for the second time");
    CHECK(error_of(head + "\norder ready 3 3\n") == "line 3: an answer beyond the last one");
    CHECK(error_of(head + "\norder ready 3\n") == "line 3: not a kind, a name and two numbers");
    CHECK(error_of(head + "\nready 3 2\n") == "line 3: not a kind, a name and two numbers");
    CHECK(error_of(head + "\nordinary 0\n") == "line 3: not a count");
    CHECK(error_of(head + "\nordinary\n") == "line 3: not a kind, a name and two numbers");
    CHECK(error_of(head + "\n3 2\n") == "line 3: not a kind, a name and two numbers");
    CHECK(error_of(head + "\norder ready 3 -1\n") == "line 3: not a kind, a name and two numbers");
    CHECK(error_of(head + "\nrea" + '\0' + "dy 3 1\n") == "line 3: not text");
    CHECK(error_of(head + "\norder ready 3 1 x0\n") == "line 3: not a count");
    CHECK(error_of(head + "\norder ready 99999999999 1\n") ==
          "line 3: not a kind, a name and two numbers");
    CHECK(error_of(head + "\norder ready 3 1 x4000000000\n") == "line 3: too many choices");
    CHECK(error_of(head + "\n" + std::string(5000, 'a') + " 2 1\n") == "line 3: too long");
    std::string many = head;
    for (int i = 0; i < 65; ++i) many += fmt::format("k{}=v\n", i);
    CHECK(error_of(many) == "line 66: too many keys");
}

TEST_CASE("choice_record: a damaged text is an error or another record, never harm") {
    const std::string good =
        "blockstep choices 2\nseed=1\n\norder ready 3 2 x9\nordinary 4\nvalue x 2 1\n";
    RandomStream random(1, "choice_record_test");
    int accepted = 0;
    for (int i = 0; i < 2000; ++i) {
        std::string text = good;
        for (std::uint64_t n = 1 + random.below(3); n > 0; --n)
            text[random.below(text.size())] = static_cast<char>(random.below(128));
        const auto parsed = parse_choice_record(text);
        if (!parsed) continue;
        ++accepted;
        const std::string again = to_text(*parsed);
        const auto parsed_again = parse_choice_record(again);
        REQUIRE(parsed_again);
        REQUIRE(to_text(*parsed_again) == again);
    }
    CHECK(accepted > 0);
    CHECK(accepted < 2000);
}

}  // namespace
}  // namespace sim
