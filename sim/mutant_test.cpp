// SPDX-License-Identifier: Apache-2.0
// Holds:   a mutant is off until it is switched on, alone, and only in builds that have mutants.
// Method:  two mutants of this file's own, in whichever build this is.
#include "sim/mutant.hpp"
#include "sim/testing/catch.hpp"

namespace sim {
namespace {

int answer() { return mutant<"test: wrong answer">() ? 41 : 42; }
int other_answer() { return mutant<"test: other wrong answer">() ? 0 : 1; }

TEST_CASE("mutant: off by default, one at a time, absent from other builds", "[mutant]") {
    CHECK(answer() == 42);
    const std::vector<std::string> all = all_mutants();
    CHECK(std::is_sorted(all.begin(), all.end()));
    CHECK(std::count(all.begin(), all.end(), "test: wrong answer") == (mutants_built_in ? 1 : 0));

    CHECK(set_mutant("test: wrong answer") == mutants_built_in);
    CHECK(answer() == (mutants_built_in ? 41 : 42));
    CHECK(other_answer() == 1);
    CHECK(set_mutant("test: other wrong answer") == mutants_built_in);
    CHECK(answer() == 42);
    CHECK(other_answer() == (mutants_built_in ? 0 : 1));

    {
        const WithoutMutants right;
        CHECK(other_answer() == 1);
    }
    CHECK(other_answer() == (mutants_built_in ? 0 : 1));

    CHECK_FALSE(set_mutant("no such mutant"));
    CHECK(other_answer() == 1);
    CHECK(set_mutant(""));
}

}  // namespace
}  // namespace sim
