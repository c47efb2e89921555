// SPDX-License-Identifier: Apache-2.0
// Holds:   the oracle accepts exactly what a disk may return: the last acknowledged write, or one
//          under way; after a power cut anything since the last flush.
// Method:  each rule by hand, with the wrong answer beside the right one; then random histories on
//          a model that keeps every version, where each of its answers must be accepted.
#include "hwmodels/guest/content_oracle.hpp"

#include "sim/rng.hpp"
#include "sim/testing/catch.hpp"

namespace hwmodels::guest {
namespace {

constexpr std::uint64_t sector = ContentOracle::sector_bytes;
using Bytes = std::vector<std::byte>;

Bytes filled(unsigned value) { return Bytes(sector, static_cast<std::byte>(value)); }

class Checker {
public:
    ContentOracle::Moment begin(unsigned value) { return oracle.begin_write(0, filled(value)); }
    void end(ContentOracle::Moment begun, bool succeeded = true) {
        oracle.end_change(begun, 0, sector, succeeded);
    }
    void write(unsigned value, bool succeeded = true) { end(begin(value), succeeded); }
    bool may_read(unsigned value) { return may_read(oracle.begin_read(), value); }
    bool may_read(ContentOracle::Moment begun, unsigned value) {
        return !oracle.end_read(begun, 0, filled(value));
    }
    void flush() { oracle.end_flush(oracle.begin_flush()); }

    ContentOracle oracle{"d"};
};

TEST_CASE("content oracle: the last acknowledged write, and nothing else", "[oracle]") {
    Checker disk;
    disk.write(1);
    CHECK(disk.may_read(1));
    CHECK_FALSE(disk.may_read(0));
    disk.write(2);
    CHECK(disk.may_read(2));
    CHECK_FALSE(disk.may_read(1));
    const auto text = disk.oracle.end_read(disk.oracle.begin_read(), 0, filled(1));
    CHECK(text ==
          "disk 'd': sector 0 (byte 0) reads as data that was overwritten before, not as "
          "the last acknowledged write");
}

TEST_CASE("content oracle: what was there at first is learned by reading it", "[oracle]") {
    Checker disk;
    CHECK(disk.may_read(7));
    CHECK_FALSE(disk.may_read(8));
    const auto begun = disk.begin(1);
    CHECK(disk.may_read(7));
    disk.end(begun);
    CHECK_FALSE(disk.may_read(7));
}

TEST_CASE("content oracle: a write under way may be seen or not", "[oracle]") {
    Checker disk;
    disk.write(1);
    const auto second = disk.begin(2);
    CHECK(disk.may_read(1));
    CHECK(disk.may_read(2));
    const auto long_read = disk.oracle.begin_read();
    disk.end(second);
    CHECK_FALSE(disk.may_read(1));
    CHECK(disk.may_read(long_read, 1));  // it began before the write was acknowledged
}

TEST_CASE("content oracle: of overlapping writes any may be the last", "[oracle]") {
    Checker disk;
    const auto first = disk.begin(1);
    const auto second = disk.begin(2);
    disk.end(first);
    disk.end(second);
    CHECK(disk.may_read(1));
    CHECK(disk.may_read(2));
    disk.write(3);
    CHECK_FALSE(disk.may_read(1));
    CHECK_FALSE(disk.may_read(2));
}

TEST_CASE("content oracle: a failed write may have happened", "[oracle]") {
    Checker disk;
    disk.write(1);
    disk.write(2, /*succeeded=*/false);
    CHECK(disk.may_read(1));
    CHECK(disk.may_read(2));
    disk.write(3);
    CHECK_FALSE(disk.may_read(2));
}

TEST_CASE("content oracle: discarded sectors read as before or as zeroes", "[oracle]") {
    Checker disk;
    disk.write(1);
    disk.end(disk.oracle.begin_zeroes(0, sector), /*succeeded=*/false);
    CHECK(disk.may_read(1));
    CHECK(disk.may_read(0));
    CHECK_FALSE(disk.may_read(2));
    const auto begun = disk.oracle.begin_zeroes(0, sector);
    disk.end(begun);
    CHECK(disk.may_read(0));
    CHECK_FALSE(disk.may_read(1));
}

TEST_CASE("content oracle: a power cut brings back what no flush covered, nothing older",
          "[oracle]") {
    Checker disk;
    disk.write(1);
    disk.write(2);
    disk.flush();
    disk.write(3);
    const auto in_flight = disk.begin(4);
    disk.oracle.power_lost();
    disk.end(in_flight, /*succeeded=*/false);
    CHECK(disk.may_read(2));
    CHECK(disk.may_read(3));
    CHECK(disk.may_read(4));
    CHECK_FALSE(disk.may_read(1));
    // A flush that began before the write was acknowledged does not cover it.
    Checker late;
    late.write(1);
    late.flush();
    const auto second = late.begin(2);
    const auto flush = late.oracle.begin_flush();
    late.end(second);
    late.oracle.end_flush(flush);
    late.oracle.power_lost();
    CHECK(late.may_read(1));
}

TEST_CASE("content oracle: what is settled no power cut brings back", "[oracle]") {
    Checker disk;
    disk.write(1);
    const auto begun = disk.begin(2);
    disk.end(begun);
    disk.oracle.settled(begun, 0, sector);
    disk.oracle.power_lost();
    CHECK(disk.may_read(2));
    CHECK_FALSE(disk.may_read(1));
}

TEST_CASE("content oracle: many unflushed versions are forgotten, never held against the disk",
          "[oracle]") {
    Checker disk;
    for (unsigned value = 1; value <= 100; ++value) disk.write(value);
    CHECK_FALSE(disk.may_read(99));
    disk.oracle.power_lost();
    CHECK(disk.may_read(3));
}

TEST_CASE("content oracle: random histories of an honest disk are accepted", "[oracle]") {
    const std::uint64_t seed = GENERATE(range(1, 40));
    INFO("seed " << seed);
    sim::RandomStream random(seed, "history");
    Checker disk;
    struct Write {
        ContentOracle::Moment begun;
        unsigned value;
        bool applied;
    };
    std::vector<Write> under_way;
    unsigned content = 0, next = 1, durable = 0;
    for (int step = 0; step < 200; ++step) {
        switch (random.below(6)) {
        case 0:
            under_way.push_back({disk.begin(next), next, false});
            next = next % 200 + 1;
            break;
        case 1:  // takes effect some time before it is acknowledged
            if (!under_way.empty()) {
                Write& write = under_way[random.below(under_way.size())];
                if (!std::exchange(write.applied, true)) content = write.value;
            }
            break;
        case 2:
            if (!under_way.empty()) {
                const std::size_t which = random.below(under_way.size());
                const Write write = under_way[which];
                if (!write.applied && random.chance(1, 2)) {
                    content = write.value;
                    disk.end(write.begun);
                } else {
                    disk.end(write.begun, write.applied);
                }
                under_way.erase(under_way.begin() + static_cast<std::ptrdiff_t>(which));
            }
            break;
        case 3: {
            const auto begun = disk.oracle.begin_read();
            REQUIRE(disk.may_read(begun, content));
            break;
        }
        case 4:
            disk.flush();
            durable = content;
            break;
        default:
            if (random.chance(1, 20)) {
                disk.oracle.power_lost();
                for (const Write& write : under_way) disk.end(write.begun, false);
                under_way.clear();
                if (random.chance(1, 2)) content = durable;
                durable = content;  // what is there after a cut is on the medium
            }
        }
    }
}

}  // namespace
}  // namespace hwmodels::guest
