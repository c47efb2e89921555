// SPDX-License-Identifier: Apache-2.0
// Holds:   a mirror's target equals its source when it takes its place, whatever a guest writes
//          meanwhile and in whatever order things happen; what a client is told of it is true.
// Method:  test drivers whose requests take time; guests of several writers under seeded random
//          schedules; a model of what was acknowledged; graphs against those of the real program.
#include "blocklayer/jobs/mirror.hpp"

#include "blocklayer/graph/dirty_bitmap.hpp"
#include "blocklayer/jobs/rate_limit.hpp"
#include "blocklayer/testing/job_fixture.hpp"
#include "sim/rng.hpp"
#include "sim/schedule.hpp"
#include "sim/testing/catch.hpp"

namespace blocklayer {
namespace {

using testing::JobFixture;

TEST_CASE("mirror: copies, says ready, and puts the target in place", "[jobs][mirror]") {
    JobFixture f;
    Node& source = f.memory("s", 256 * 1024);
    Node& target = f.memory("t", 256 * 1024);
    f.fill(source, 7);
    BlockBackend& guest = f.user(source, "CW", "CUR", "D");
    f.qmp("blockdev-mirror", {{"job-id", "j"},
                              {"device", "s"},
                              {"target", "t"},
                              {"sync", "full"},
                              {"filter-node-name", "F"}});
    f.settle();
    CHECK(f.told() == "created running ready READY");
    CHECK(f.layer.graph().dump() ==
          "mirror job 'j' --source--> s - / CWU\n"
          "node 'F' --backing--> s CW / CU\n"
          "mirror job 'j' --target--> t - / ALL\n"
          "an unnamed block device --root--> t W / U\n"
          "mirror job 'j' --main node--> F C / CWU\n"
          "block device 'D' --root--> F CW / CUR\n");
    f.qmp("block-job-complete", {{"device", "j"}});
    f.settle();
    CHECK(f.told() == "waiting pending COMPLETED concluded null");
    CHECK(guest.node() == &target);
    CHECK(f.memory_of(target).bytes == f.memory_of(source).bytes);
    CHECK(f.layer.find_node("F") == nullptr);
    CHECK(f.layer.graph().dump() == "block device 'D' --root--> t CW / CUR\n");
    CHECK(source.dirty_bitmaps().empty());
    CHECK(source.op_blockers().empty());
    CHECK(target.op_blockers().empty());
    f.check();
}

struct Pair {  // a mirror from s to t with a guest on s
    explicit Pair(std::uint64_t bytes = 256 * 1024);
    std::string start(std::initializer_list<Value::NewMember> more);
    IoStatus write(std::uint64_t at, std::uint64_t length, std::uint8_t value);

    JobFixture f;
    Node& source;
    Node& target;
    BlockBackend& guest;
};

Pair::Pair(std::uint64_t bytes)
    : f(1, {.limits = {.job_slots = 2, .job_chunk_bytes = 64 * 1024}}),
      source(f.memory("s", bytes)),
      target(f.memory("t", bytes)),
      guest(f.user(source, "CW", "CUR", "D")) {
    f.fill(source, 7);
}

std::string Pair::start(std::initializer_list<Value::NewMember> more) {
    Value arguments =
        Value::dict({{"job-id", "j"}, {"device", "s"}, {"target", "t"}, {"sync", "full"}});
    for (const auto& [name, value] : more) arguments.set(std::string(name), value);
    return f.qmp_error("blockdev-mirror", arguments);
}

IoStatus Pair::write(std::uint64_t at, std::uint64_t length, std::uint8_t value) {
    const std::vector<std::byte> bytes(length, std::byte{value});
    return f.run([&](sim::Co& co) { return guest.write(co, at, std::span(bytes)); });
}

TEST_CASE("mirror: cancels leave the source where it is", "[jobs][mirror]") {
    const bool force = GENERATE(false, true);
    const bool ready = GENERATE(false, true);
    Pair pair;
    CHECK(pair.start({{"speed", ready ? 0 : 1}}) == "ok");
    pair.f.settle();
    pair.f.qmp("block-job-cancel", {{"device", "j"}, {"force", force}});
    pair.f.settle();
    // Ready and not forced: it completes, without the swap.
    const std::string told = pair.f.told();
    CHECK(told.ends_with(ready && !force ? "READY waiting pending COMPLETED concluded null"
                                         : "aborting CANCELLED concluded null"));
    CHECK(pair.guest.node() == &pair.source);
    CHECK(pair.f.layer.graph().dump() == "block device 'D' --root--> s CW / CUR\n");
    CHECK(pair.source.dirty_bitmaps().empty());
    CHECK(pair.write(5, 5, 5));
    pair.f.check();
}

TEST_CASE("mirror: after ready it follows within a slice", "[jobs][mirror]") {
    Pair pair;
    CHECK(pair.start({}) == "ok");
    pair.f.settle();
    CHECK(pair.write(100'000, 10, 9));
    const auto copied = [&] {
        return pair.f.memory_of(pair.target).bytes == pair.f.memory_of(pair.source).bytes;
    };
    CHECK_FALSE(copied());
    pair.f.world.advance(RateLimit::slice);
    CHECK(copied());
}

TEST_CASE("mirror: in write-blocking mode both have it at once", "[jobs][mirror]") {
    Pair pair;
    CHECK(pair.start({{"copy-mode", "write-blocking"}}) == "ok");
    pair.f.settle();
    CHECK(pair.write(100'000, 10, 9));
    CHECK(pair.f.memory_of(pair.target).bytes == pair.f.memory_of(pair.source).bytes);
    // The target fails: the guest does not hear of it, the job does.
    pair.f.memory_of(pair.target).failing.insert("write");
    CHECK(pair.write(0, 10, 9));
    pair.f.settle();
    CHECK(pair.f.told().ends_with("ERROR aborting COMPLETED concluded null"));
    CHECK(pair.guest.node() == &pair.source);
    pair.f.check();
}

TEST_CASE("mirror: sync none copies what is written from then on", "[jobs][mirror]") {
    Pair pair;
    CHECK(pair.start({{"sync", "none"}}) == "ok");
    pair.f.settle();
    CHECK(pair.f.told() == "created running ready READY");
    CHECK(pair.write(70'000, 10, 9));
    pair.f.settle();
    const auto& bytes = pair.f.memory_of(pair.target).bytes;
    CHECK(bytes[0] == std::byte{0});
    CHECK(bytes[65536] == std::byte{7});  // the rest of the granule
    CHECK(bytes[70'000] == std::byte{9});
    CHECK(bytes[131'072] == std::byte{0});
}

TEST_CASE("mirror: sync top copies the overlay alone", "[jobs][mirror]") {
    JobFixture f;
    Node& base = f.format("b", f.memory("bf", 512 * 1024), nullptr, /*read_only=*/true);
    Node& top = f.format("s", f.memory("sf", 512 * 1024), &base);
    f.format_of(top).allocated = {1, 5};
    f.format("t", f.memory("t0", 512 * 1024));
    f.fill(*f.layer.find_node("sf"), 3);
    f.qmp("blockdev-mirror",
          {{"job-id", "j"}, {"device", "s"}, {"target", "t"}, {"sync", "top"}});
    f.settle();
    CHECK(f.qmp("query-jobs").items().front().at("total-progress") == 131'072);
    CHECK(f.format_of(*f.layer.find_node("t")).allocated == std::set<std::uint64_t>{1, 5});
}

TEST_CASE("mirror: keeps its speed on simulated time", "[jobs][mirror]") {
    Pair pair(4 * 1024 * 1024);
    CHECK(pair.start({{"speed", 1024 * 1024}, {"buf-size", 256 * 1024}}) == "ok");
    const auto offset = [&] {
        return pair.f.qmp("query-block-jobs").items().front().at("offset").as_uint();
    };
    // Each buffer at once, then a quarter of a second for it.
    for (std::uint64_t quarter = 0; quarter < 8; ++quarter) {
        pair.f.world.advance(sim::milliseconds(10));
        CHECK(offset() == (quarter + 1) * 256 * 1024);
        pair.f.world.advance(sim::milliseconds(240));
    }
    pair.f.qmp("block-job-set-speed", {{"device", "j"}, {"speed", 0}});
    pair.f.world.advance(sim::milliseconds(10));
    CHECK(pair.f.told() == "created running ready READY");
}

TEST_CASE("mirror: error policies", "[jobs][mirror]") {
    const bool at_source = GENERATE(false, true);
    const std::string policy = GENERATE("report", "ignore", "stop", "enospc", "auto");
    Pair pair;
    testing::MemoryDriver& side = pair.f.memory_of(at_source ? pair.source : pair.target);
    side.failing.insert(at_source ? "read" : "write");
    CHECK(pair.start({{at_source ? "on-source-error" : "on-target-error", policy}}) == "ok");
    pair.f.world.advance(sim::milliseconds(50));
    const std::string told = pair.f.told();
    INFO(told);
    CHECK(told.starts_with("created running ERROR"));
    side.failing.clear();
    if (policy == "stop") {
        CHECK(told.ends_with("ERROR paused"));
        CHECK(pair.f.qmp("query-block-jobs").items().front().at("io-status") == "failed");
        pair.f.qmp("block-job-resume", {{"device", "j"}});
        CHECK(pair.f.qmp("query-block-jobs").items().front().at("io-status") == "ok");
    }
    pair.f.settle();
    if (policy == "stop" || policy == "ignore") {
        CHECK(pair.f.told().ends_with("ready READY"));
        CHECK(pair.f.memory_of(pair.target).bytes == pair.f.memory_of(pair.source).bytes);
    } else {
        CHECK(told.ends_with("aborting COMPLETED concluded null"));
        CHECK(pair.f.events.back().name == sim::Label("JOB_STATUS_CHANGE"));
    }
    pair.f.check();
}

TEST_CASE("mirror: replaces a node below a filter", "[jobs][mirror]") {
    JobFixture f;
    Node& source = f.memory("s");
    Node& target = f.memory("t");
    Node& filter = f.filter("fl", source);
    BlockBackend& guest = f.user(filter, "CW", "CUR", "D");
    f.qmp("blockdev-mirror", {{"job-id", "j"},
                              {"device", "fl"},
                              {"target", "t"},
                              {"sync", "full"},
                              {"replaces", "s"}});
    f.settle();
    f.qmp("block-job-complete", {{"device", "j"}});
    f.settle();
    CHECK(f.told().ends_with("COMPLETED concluded null"));
    CHECK(guest.node() == &filter);
    CHECK(&filter.filtered_child()->child() == &target);
    CHECK(source.op_blockers().empty());
    f.check();
}

// A guest that writes where nobody else does, and knows what it should find there.
class Guest {
public:
    Guest(JobFixture& f, BlockBackend& disk, std::uint64_t begin, std::uint64_t length,
          std::uint64_t seed)
        : f_(f), disk_(disk), begin_(begin), model_(length), random_(seed, "mirror guest") {
        f_.world.spawn(f_.world.main_thread(), "guest", [this](sim::Co& co) { run(co); });
    }
    bool over() const { return over_; }
    void stop() { stopped_ = true; }
    // What the disk holds now is what was acknowledged.
    bool agrees(const std::vector<std::byte>& disk) const {
        return std::equal(model_.begin(), model_.end(),
                          disk.begin() + static_cast<std::ptrdiff_t>(begin_));
    }

private:
    void run(sim::Co& co) {
        while (!stopped_) {
            const std::uint64_t at = random_.below(model_.size());
            const std::uint64_t length =
                1 + random_.below(std::min<std::uint64_t>(model_.size() - at, 40'000));
            if (random_.chance(1, 3))
                look(co, at, length);
            else
                change(co, at, length);
            // Now in a hurry, now so idle that the mirror can catch up.
            const std::uint64_t longest = random_.chance(3, 4) ? 2000 : 20'000;
            co.sleep(sim::microseconds(static_cast<std::int64_t>(random_.below(longest))));
        }
        over_ = true;
    }

    void look(sim::Co& co, std::uint64_t at, std::uint64_t length) {
        std::vector<std::byte> bytes(length);
        CHECK(disk_.read(co, begin_ + at, std::span<std::byte>(bytes)));
        CHECK(std::equal(bytes.begin(), bytes.end(),
                         model_.begin() + static_cast<std::ptrdiff_t>(at)));
    }

    void change(sim::Co& co, std::uint64_t at, std::uint64_t length) {
        auto value = std::byte(1 + random_.below(255));
        IoStatus status;
        switch (random_.below(4)) {
        case 0:
            value = std::byte{0};
            status = disk_.write_zeroes(co, begin_ + at, length);
            break;
        case 1:
            value = std::byte{0};
            status = disk_.discard(co, begin_ + at, length);
            break;
        default: {
            const std::vector<std::byte> bytes(length, value);
            status = disk_.write(co, begin_ + at, std::span(bytes));
        }
        }
        CHECK(status);
        std::fill_n(model_.begin() + static_cast<std::ptrdiff_t>(at), length, value);
    }

    JobFixture& f_;
    BlockBackend& disk_;
    std::uint64_t begin_;
    std::vector<std::byte> model_;
    sim::RandomStream random_;
    bool stopped_ = false, over_ = false;
};

struct Race {
    Race(std::uint64_t seed, bool write_blocking);
    void play();

    std::uint64_t seed;
    bool write_blocking;
    JobFixture f;
    sim::RandomStream random;
    Node* source = nullptr;
    Node* target = nullptr;
    BlockBackend* disk = nullptr;
    bool pivoted = false;
    bool under_fire = false;  // while the guests were writing
};

constexpr std::uint64_t race_bytes = 256 * 1024;

Race::Race(std::uint64_t race_seed, bool blocking)
    : seed(race_seed),
      write_blocking(blocking),
      f(sim::WorldOptions{.seed = race_seed, .schedule = sim::random_schedule(race_seed)},
        LayerOptions{.limits = {.job_slots = 3, .job_chunk_bytes = 32 * 1024}}),
      random(race_seed, "mirror race") {
    for (const char* name : {"s", "t"}) {
        Node& node = f.open(Value::dict({{"driver", "test-memory"},
                                         {"node-name", name},
                                         {"size", race_bytes},
                                         {"discard", "unmap"}}));
        f.memory_of(node).before = [this](sim::Co& co, const testing::DriverCall&) {
            co.sleep(sim::microseconds(static_cast<std::int64_t>(random.below(2000))));
        };
        (node.name() == "s" ? source : target) = &node;
    }
    f.fill(*target, 9);
    f.memory_of(*source).zeroes_supported = random.chance(1, 2);
    f.memory_of(*source).given.request_alignment = random.chance(1, 2) ? 512 : 1;
    f.memory_of(*target).given.request_alignment = random.chance(1, 2) ? 4096 : 1;
    disk = &f.user(*source, "CW", "CUR", "D");
    f.layer.add_event_sink([this](const std::shared_ptr<const QmpEvent>& event) {
        if (event->name != "BLOCK_JOB_COMPLETED") return;
        pivoted = true;
        // Nobody has run since the swap.
        CHECK_FALSE(event->data.has("error"));
        CHECK(f.memory_of(*source).bytes == f.memory_of(*target).bytes);
    });
}

void Race::play() {
    std::vector<std::unique_ptr<Guest>> guests;
    for (std::uint64_t i = 0; i < 4; ++i)
        guests.push_back(std::make_unique<Guest>(f, *disk, i * race_bytes / 4, race_bytes / 4,
                                                 seed * 10 + i));
    f.qmp("blockdev-mirror",
          {{"job-id", "j"},
           {"device", "s"},
           {"target", "t"},
           {"sync", "full"},
           {"granularity", std::int64_t{512} << random.below(8)},
           {"buf-size", std::int64_t{16 * 1024} << random.below(4)},
           {"copy-mode", write_blocking ? "write-blocking" : "background"}});
    // At once when it may: what went wrong should not be mended by later writes.
    const Value name = Value::dict({{"device", "j"}});
    for (int i = 0; i < 200 && f.qmp_error("block-job-complete", name) != "ok"; ++i)
        f.world.advance(sim::milliseconds(1));
    for (int i = 0; i < 200 && !pivoted; ++i) f.world.advance(sim::milliseconds(1));
    under_fire = pivoted;
    f.world.advance(sim::milliseconds(5));
    for (const auto& guest : guests) guest->stop();
    f.settle();
    if (!pivoted) CHECK(f.qmp_error("block-job-complete", name) == "ok");  // it was never ready
    f.settle();
    CHECK(pivoted);
    CHECK(disk->node() == target);
    for (const auto& guest : guests) {
        CHECK(guest->over());
        CHECK(guest->agrees(f.memory_of(*target).bytes));
    }
    f.check();
}

TEST_CASE("mirror: equal at the pivot, whoever writes", "[jobs][mirror][random]") {
    int under_fire = 0;
    for (std::uint64_t seed = 1; seed <= 40; ++seed) {
        for (const bool write_blocking : {false, true}) {
            INFO("seed " << seed << (write_blocking ? " write-blocking" : " background"));
            Race race(seed, write_blocking);
            race.play();
            under_fire += race.under_fire ? 1 : 0;
        }
    }
    CHECK(under_fire > 40);
}

}  // namespace
}  // namespace blocklayer
