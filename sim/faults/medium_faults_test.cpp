// SPDX-License-Identifier: Apache-2.0
// Holds:   each armed kind of fault does what it says where the schedule strikes, nothing where it
//          does not; sites have stable names; the number of faults is bounded.
// Method:  a schedule that strikes at one named site, against small files.
#include "sim/memory_store.hpp"
#include "sim/testing/catch.hpp"
#include "sim/world.hpp"

namespace sim {
namespace {

// First in first out; faults at sites of this name, values as told.
class Striking final : public Schedule {
public:
    Striking(Label site, std::uint32_t value = 0) : site_(site), value_(value) {}
    std::uint32_t choose(std::uint32_t n, Label) override { return std::min(value_, n - 1); }
    std::uint32_t pick(std::span<const Candidate>) override { return 0; }
    std::uint32_t fault(std::uint32_t, Label site) override {
        return site.hash() == site_.hash() ? 1 : 0;
    }

private:
    Label site_;
    std::uint32_t value_;
};

struct Fixture {
    explicit Fixture(Label site, std::uint32_t value = 0)
        : world({.schedule = std::make_unique<Striking>(site, value)}),
          store(WriteCache::volatile_),
          file(*store.create("d")) {
        for (std::size_t i = 0; i < medium_faults; ++i)
            store.medium("d")->chosen_faults().arm(static_cast<MediumFault>(i));
    }
    IoStatus write(Co& co, std::size_t bytes) {
        data.assign(bytes, std::byte{7});
        return file->write(co, 0, IoView(std::span(data)));
    }
    World world;
    MemoryStore store;
    std::unique_ptr<HostFile> file;
    std::vector<std::byte> data;
};

TEST_CASE("medium_faults: names") {
    for (std::size_t i = 0; i < medium_faults; ++i)
        CHECK(medium_fault_named(name_of(static_cast<MediumFault>(i))) ==
              static_cast<MediumFault>(i));
    CHECK_FALSE(medium_fault_named("fire"));
}

TEST_CASE("medium_faults: errors do nothing to the file") {
    Fixture io("d: write fails");
    CHECK(io.world.run([&](Co& co) { return io.write(co, 512); }) == Unexpected(Errno::io));
    CHECK(io.store.medium("d")->contents().size() == 0);
    REQUIRE(io.world.faults().size() == 1);
    CHECK(std::string_view(io.world.faults()[0].site.name()) == "d: write fails");
    Fixture room("d: write finds no space");
    CHECK(room.world.run([&](Co& co) { return room.write(co, 512); }) ==
          Unexpected(Errno::no_space));
    Fixture other("d: read fails");
    CHECK(other.world.run([&](Co& co) { return other.write(co, 512); }));
}

TEST_CASE("medium_faults: a torn write leaves its first sectors") {
    Fixture torn("d: write is torn", 2);
    CHECK(torn.world.run([&](Co& co) { return torn.write(co, 4096); }) == Unexpected(Errno::io));
    CHECK(torn.store.medium("d")->contents().size() == 1024);
    CHECK(torn.store.medium("d")->pending().size() == 1);
}

TEST_CASE("medium_faults: slow takes effect late, late only tells so late") {
    for (const bool slow : {true, false}) {
        Fixture one(slow ? Label("d: write is slow") : Label("d: write is told late"));
        std::uint64_t size_meanwhile = 0;
        one.world.spawn(one.world.main_thread(), "looks", [&](Co& co) {
            co.sleep(milliseconds(50));
            size_meanwhile = one.store.medium("d")->contents().size();
        });
        CHECK(one.world.run([&](Co& co) { return one.write(co, 512); }));
        CHECK(one.world.now() == Instant{} + milliseconds(100));
        CHECK(size_meanwhile == (slow ? 0 : 512));
    }
}

TEST_CASE("medium_faults: a lost answer comes when the power goes, or never") {
    Fixture lost("d: write is never told");
    lost.world.spawn(lost.world.main_thread(), "power", [&](Co& co) {
        co.sleep(seconds(1));
        CHECK(lost.store.medium("d")->contents().size() == 512);
        lost.store.power_cut(co.world());
    });
    CHECK(lost.world.run([&](Co& co) { return lost.write(co, 512); }) == Unexpected(Errno::io));
    CHECK(lost.world.now() == Instant{} + seconds(1));
    Fixture never("d: write is never told");
    CHECK_THROWS_AS(never.world.run([&](Co& co) { return never.write(co, 512); }), Deadlock);
}

TEST_CASE("medium_faults: a flush that lies makes nothing durable") {
    for (const bool lies : {true, false}) {
        Fixture one(lies ? Label("d: flush lies") : Label("nothing"));
        one.world.run([&](Co& co) {
            REQUIRE(one.write(co, 512));
            REQUIRE(one.file->flush(co));
        });
        CHECK(one.store.medium("d")->durable().size() == (lies ? 0 : 512));
    }
}

TEST_CASE("medium_faults: no more faults than allowed, none once disarmed, none in plain order") {
    Fixture one("d: write fails");
    one.world.limit_faults(2);
    int failed = 0;
    one.world.run([&](Co& co) {
        for (int i = 0; i < 5; ++i) failed += one.write(co, 512) ? 0 : 1;
    });
    CHECK(failed == 2);
    Fixture two("d: write fails");
    two.store.medium("d")->clear_faults();
    CHECK(two.world.run([&](Co& co) { return two.write(co, 512); }));
    World plain;
    CHECK(plain.fault(2, "anything") == 0);
    CHECK(plain.feature("anything"));
    CHECK(plain.keep("anything"));
}

}  // namespace
}  // namespace sim
