// SPDX-License-Identifier: Apache-2.0
// Holds:   blocks of the guest's heap lie in RAM, apart from one another and aligned; what was
//          given back can be had again, joined to what is free around it. RAM that was handed out
//          can be put back as it was.
// Method:  random takes and returns against a list of what is taken, the seed printed.
#include "hwmodels/guest/heap.hpp"

#include "sim/rng.hpp"
#include "sim/testing/catch.hpp"

namespace hwmodels::guest {
namespace {

constexpr std::uint64_t ram = 4 << 20;

TEST_CASE("guest heap: blocks never overlap, and all memory comes back", "[guest]") {
    constexpr std::uint64_t seed = 3;
    INFO("seed " << seed);
    sim::RandomStream random(seed, "heap");
    const GuestMemory memory(ram);
    GuestHeap heap(memory);
    std::map<GuestAddress, std::uint64_t> taken;
    for (int step = 0; step < 5000; ++step) {
        if (!taken.empty() && random.chance(1, 2)) {
            auto block = taken.begin();
            std::advance(block, static_cast<std::ptrdiff_t>(random.below(taken.size())));
            heap.give_back(block->first);
            taken.erase(block);
        } else {
            const std::uint64_t bytes = 1 + random.below(random.chance(1, 6) ? 20'000 : 600);
            const GuestAddress address = heap.take(bytes);
            if (address == 0) continue;
            CHECK(address % (bytes >= 4096 ? 4096 : GuestHeap::align) == 0);
            CHECK(memory.span(address, bytes) != nullptr);
            const auto next = taken.lower_bound(address);
            CHECK((next == taken.end() || address + bytes <= next->first));
            if (next != taken.begin()) {
                const auto before = std::prev(next);
                CHECK(before->first + before->second <= address);
            }
            taken[address] = bytes;
        }
        CHECK(heap.blocks_taken() == taken.size());
    }
    for (const auto& [address, bytes] : taken) heap.give_back(address);
    CHECK(heap.take(ram - GuestHeap::first) == GuestHeap::first);
    CHECK(heap.take(1) == 0);
}

TEST_CASE("guest heap: watched, it finds a write to what was given back", "[guest]") {
    const GuestMemory memory(ram);
    GuestHeap heap(memory);
    const GuestAddress before = heap.take(8192);
    heap.watch();
    sim::RandomStream random(5, "heap");
    std::vector<GuestAddress> taken;
    for (int step = 0; step < 2000; ++step) {
        if (taken.size() > 40 || (!taken.empty() && random.chance(1, 2))) {
            const std::size_t which = random.below(taken.size());
            heap.give_back(taken[which]);
            taken.erase(taken.begin() + static_cast<std::ptrdiff_t>(which));
        } else {
            const std::uint64_t bytes = 1 + random.below(20'000);
            taken.push_back(heap.take(bytes));
            std::memset(memory.span(taken.back(), bytes), 0xee, bytes);
        }
    }
    for (const GuestAddress one : taken) heap.give_back(one);
    heap.give_back(before);
    heap.check();
    store(memory.span(before + 4096, 8), std::uint64_t{1});
    CHECK_THROWS_AS(heap.check(), sim::AssertionFailure);
    CHECK_THROWS_AS(heap.take(8192), sim::AssertionFailure);
}

TEST_CASE("guest memory: what was saved comes back, all else is zero again", "[guest]") {
    GuestMemory memory(ram);
    const auto fill = [&](GuestAddress at, std::uint64_t bytes, int value) {
        std::memset(memory.span(at, bytes), value, bytes);
    };
    const auto all = [&](GuestAddress at, std::uint64_t bytes, int value) {
        const std::byte* from = memory.span(at, bytes);
        return std::all_of(from, from + bytes,
                           [&](std::byte byte) { return byte == static_cast<std::byte>(value); });
    };
    fill(8192, 100, 1);
    const GuestMemory::Saved saved = memory.save();
    fill(4096, 5000, 2);
    fill(20'000, 3000, 3);
    memory.restore(saved);
    CHECK(all(8192, 100, 1));
    CHECK(all(0, 8192, 0));
    CHECK(all(8292, 20'000, 0));
}

TEST_CASE("guest memory: a new machine's RAM is zero, whoever had it before", "[guest]") {
    for (int round = 0; round < 3; ++round) {
        const GuestMemory memory(ram);
        std::uint64_t value = 1;
        CHECK(memory.read(12'345, value));
        CHECK(value == 0);
        CHECK(memory.write(12'345, std::uint64_t{77}));
    }
}

}  // namespace
}  // namespace hwmodels::guest
