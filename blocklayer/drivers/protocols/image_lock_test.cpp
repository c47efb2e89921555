// SPDX-License-Identifier: Apache-2.0
// Holds:   a user of a file locks the bytes of what it uses and of what it does not share; two
//          users get along exactly when neither uses what the other does not share; the first
//          conflict in the reference's order is the one that is named; a refusal leaves no lock
//          behind.
// Method:  every pair of sets of permissions, over two descriptions of one simulated file.
#include "blocklayer/drivers/protocols/image_lock.hpp"

#include "sim/memory_store.hpp"
#include "sim/testing/catch.hpp"

namespace blocklayer {
namespace {

LockBits bits(unsigned used, unsigned shared) {
    return LockBits::of({.used = PermSet::from_bits(static_cast<std::uint8_t>(used)),
                         .shared = PermSet::from_bits(static_cast<std::uint8_t>(shared))});
}

struct TwoUsers {
    TwoUsers() {
        store.put("a", {});
        first = *store.open("a", sim::HostAccess::read_write);
        second = *store.open("a", sim::HostAccess::read_write);
        watcher = *store.open("a", sim::HostAccess::read_only);
    }
    // As the host's table of locks shows them.
    std::string locked() {
        std::string text;
        for (unsigned byte = 0; byte < 300; ++byte)
            if (!watcher->test_exclusive(byte)) text += fmt::format("{} ", byte);
        return text;
    }
    sim::MemoryStore store;
    std::unique_ptr<sim::HostFile> first, second, watcher;
};

TEST_CASE("image lock: which bytes", "[image_lock]") {
    TwoUsers users;
    LockBits held;
    // C W R used, C U shared: an image opened read-write.
    REQUIRE(held.lock(*users.first, bits(0b1011, 0b0101)));
    CHECK(users.locked() == "100 101 103 201 203 ");
    held.keep_only(*users.first, bits(0b0001, 0b1111));
    CHECK(users.locked() == "100 ");
    held.keep_only(*users.first, {});
    CHECK(users.locked() == "");
}

TEST_CASE("image lock: every pair of users", "[image_lock]") {
    for (unsigned pair = 0; pair < 1u << 16; pair += 7) {  // all combinations, one in seven
        const LockBits one = bits(pair & 15, pair >> 4 & 15);
        const LockBits other = bits(pair >> 8 & 15, pair >> 12 & 15);
        TwoUsers users;
        LockBits first_held, second_held;
        REQUIRE(first_held.lock(*users.first, one));
        REQUIRE(one.test(*users.first));  // its own locks are no hindrance
        REQUIRE(second_held.lock(*users.second, other));
        const Status allowed = other.test(*users.second);
        const PermSet denied = other.used.without(PermSet::all().without(one.unshared));
        const PermSet in_use = one.used.without(PermSet::all().without(other.unshared));
        REQUIRE(allowed.has_value() == (denied == PermSet() && in_use == PermSet()));
        REQUIRE(users.locked() == [&] {
            std::string text;
            const LockBits all{one.used | other.used, one.unshared | other.unshared};
            for (unsigned n = 0; n < 4; ++n)
                if (all.used.contains(PermSet::from_bits(static_cast<std::uint8_t>(1 << n))))
                    text += fmt::format("{} ", 100 + n);
            for (unsigned n = 0; n < 4; ++n)
                if (all.unshared.contains(PermSet::from_bits(static_cast<std::uint8_t>(1 << n))))
                    text += fmt::format("{} ", 200 + n);
            return text;
        }());
    }
}

TEST_CASE("image lock: which conflict is named", "[image_lock]") {
    TwoUsers users;
    LockBits held;
    REQUIRE(held.lock(*users.first, bits(0b1010, 0b0101)));  // W R; not W, R
    CHECK(bits(0b1010, 0b1111).test(*users.second).error().text == "Failed to get \"write\" lock");
    CHECK(bits(0b1000, 0b0000).test(*users.second).error().text == "Failed to get \"resize\" lock");
    CHECK(bits(0b0001, 0b0101).test(*users.second).error().text ==
          "Failed to get shared \"write\" lock");
    CHECK(bits(0b0001, 0b0111).test(*users.second).error().text ==
          "Failed to get shared \"resize\" lock");
    CHECK(bits(0b0101, 0b1111).test(*users.second));
}

TEST_CASE("image lock: a description that takes over from another", "[image_lock]") {
    TwoUsers users;
    const LockBits old_locks = bits(0b0001, 0b0101), new_locks = bits(0b1011, 0b0101);
    LockBits old_held, new_held;
    REQUIRE(old_held.lock(*users.first, old_locks));
    REQUIRE(new_held.lock(*users.second, old_locks));
    REQUIRE(new_held.lock(*users.second, new_locks));
    CHECK_FALSE(new_locks.test(*users.second));  // the old one seems to be somebody else
    CHECK(new_locks.test_ignoring(*users.second, old_held, *users.first));
    CHECK(users.locked() == "100 101 103 201 203 ");
    // Somebody else is not ignored.
    LockBits others;
    REQUIRE(others.lock(*users.watcher, bits(0b0001, 0b1101)));
    CHECK(new_locks.test_ignoring(*users.second, old_held, *users.first).error().text ==
          "Failed to get \"write\" lock");
}

}  // namespace
}  // namespace blocklayer
