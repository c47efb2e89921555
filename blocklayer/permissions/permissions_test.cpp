// SPDX-License-Identifier: Apache-2.0
// Holds:   sets of permissions are sets, and their three written forms keep the order of the bits.
// Method:  all 256 pairs of sets against bit arithmetic; every set's words rebuilt bit by bit.
#include "blocklayer/permissions/permissions.hpp"

#include "sim/testing/catch.hpp"

namespace blocklayer {
namespace {

TEST_CASE("permissions: set arithmetic", "[permissions]") {
    for (unsigned a = 0; a < 16; ++a) {
        for (unsigned b = 0; b < 16; ++b) {
            const PermSet x = PermSet::from_bits(a), y = PermSet::from_bits(b);
            CHECK((x | y).bits() == (a | b));
            CHECK((x & y).bits() == (a & b));
            CHECK(x.without(y).bits() == (a & ~b));
            CHECK(x.contains(y) == ((a & b) == b));
            CHECK(x.intersects(y) == ((a & b) != 0));
            CHECK((x == y) == (a == b));
        }
    }
    CHECK(PermSet::from_bits(0xff) == PermSet::all());
    CHECK(PermSet().empty());
    CHECK(Claim{} == Claim{PermSet(), PermSet::all()});  // uses nothing, shares everything
}

TEST_CASE("permissions: words, letters and wire names", "[permissions]") {
    const std::pair<Perm, std::string> words[] = {{Perm::consistent_read, "consistent read"},
                                                  {Perm::write, "write"},
                                                  {Perm::write_unchanged, "write unchanged"},
                                                  {Perm::resize, "resize"}};
    for (unsigned bits = 0; bits < 16; ++bits) {
        const PermSet set = PermSet::from_bits(bits);
        std::string text, letters;
        for (std::size_t i = 0; i < std::size(words); ++i) {
            if (!set.contains(words[i].first)) continue;
            text += (text.empty() ? "" : ", ") + words[i].second;
            letters += "CWUR"[i];
        }
        CHECK(to_words(set) == text);
        CHECK(to_letters(set) == (bits == 0 ? "-" : bits == 15 ? "ALL" : letters));
    }
    for (const auto& [perm, text] : words) {
        std::string wire = text;
        std::replace(wire.begin(), wire.end(), ' ', '-');
        CHECK(wire_name(perm) == wire);
    }
}

}  // namespace
}  // namespace blocklayer
