// SPDX-License-Identifier: Apache-2.0
// Holds:   files read back what was written; a flushed byte survives every power cut and an
//          unflushed one may or may not, sector by sector; locks belong to open descriptions;
//          injected errors come where they were asked for and change nothing.
// Method:  small worlds over one store; every subset of pending writes is walked where few.
#include "sim/memory_store.hpp"

#include <array>
#include <set>

#include "sim/testing/catch.hpp"
#include "sim/world.hpp"

namespace sim {
namespace {

std::vector<std::byte> filled(std::size_t size, int value) {
    return std::vector<std::byte>(size, static_cast<std::byte>(value));
}

IoView view(std::vector<std::byte>& bytes) { return IoView(std::span<std::byte>(bytes)); }

std::unique_ptr<HostFile> make(MemoryStore& store, std::string_view path) {
    auto file = store.create(path);
    REQUIRE(file);
    return *std::move(file);
}

// The first byte of each sector, as one text of digits.
std::string sectors(const ByteImage& image) {
    std::string text;
    for (std::uint64_t at = 0; at < image.size(); at += 512) {
        std::byte first{};
        image.read(at, {&first, 1});
        text += static_cast<char>('0' + std::to_integer<int>(first));
    }
    return text;
}

TEST_CASE("memory_store: what is written is read, past the end is zero") {
    World world;
    MemoryStore store;
    auto file = make(store, "a");
    world.run([&](Co& co) {
        auto data = filled(3000, 5);
        CHECK(file->write(co, 5000, view(data)));
        auto back = filled(9000, 9);
        std::array<IoVec, 2> pieces{{{back.data(), 100}, {back.data() + 100, 8900}}};
        CHECK(file->read(co, 0, IoView(pieces)));
        CHECK(back[4999] == std::byte{0});
        CHECK(back[5000] == std::byte{5});
        CHECK(back[7999] == std::byte{5});
        CHECK(back[8000] == std::byte{0});
        CHECK(file->size() == std::uint64_t{8000});
        CHECK(file->write_zeroes(co, 4096, 4096, MayUnmap::yes));
        CHECK(file->allocated_bytes() == std::uint64_t{0});
        CHECK(file->size() == std::uint64_t{8192});
        CHECK(file->discard(co, 0, 1 << 20));
        CHECK(file->size() == std::uint64_t{8192});
        CHECK(file->truncate(co, 10));
        CHECK(file->size() == std::uint64_t{10});
        CHECK(file->truncate(co, UINT64_MAX) == Unexpected(Errno::too_big));
        CHECK(file->write(co, INT64_MAX - 1, view(data)) == Unexpected(Errno::too_big));
        CHECK(file->write_zeroes(co, 0, INT64_MAX, MayUnmap::no));
        CHECK(file->size() == std::uint64_t{INT64_MAX});
        CHECK(file->read(co, UINT64_MAX, view(data)) == Unexpected(Errno::invalid));
    });
    CHECK(store.open("b", HostAccess::read_only).error() == Errno::no_entry);
    auto reader = *store.open("a", HostAccess::read_only);
    world.run([&](Co& co) {
        auto data = filled(10, 1);
        CHECK(reader->write(co, 0, view(data)) == Unexpected(Errno::bad_file));
    });
    store.medium("a")->set_read_only(true);
    CHECK(store.open("a", HostAccess::read_write).error() == Errno::access);
    CHECK(store.open("a", HostAccess::read_only));
}

TEST_CASE("memory_store: concurrent writes complete in the order of the schedule") {
    std::set<std::string> outcomes;
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
        World world({.schedule = random_schedule(seed)});
        MemoryStore store;
        auto file = make(store, "a");
        for (const int value : {1, 2, 3})
            world.spawn(world.main_thread(), "writer", [&file, value](Co& co) {
                auto data = filled(512, value);
                CHECK(file->write(co, 0, view(data)));
            });
        world.run_until_idle();
        outcomes.insert(sectors(store.medium("a")->contents()));
    }
    CHECK(outcomes == std::set<std::string>{"1", "2", "3"});
}

TEST_CASE("memory_store: snapshots come back, files made since go away") {
    World world;
    MemoryStore store;
    auto file = make(store, "a");
    auto data = filled(8192, 1);
    const auto write = [&](int value) {
        data.assign(data.size(), static_cast<std::byte>(value));
        world.run([&](Co& co) { CHECK(file->write(co, 0, view(data))); });
    };
    write(1);
    const MemoryStore::Snapshot before = store.snapshot();
    write(2);
    store.put("b", {});
    store.restore(before);
    CHECK(store.list() == std::vector<std::string>{"a"});
    CHECK(store.medium("a")->contents() == before.at("a"));
    write(3);  // the open description goes on
    CHECK(sectors(before.at("a")).front() == '1');
}

TEST_CASE("memory_store: a power cut keeps what was flushed and any sectors of the rest") {
    std::set<std::string> outcomes;
    for (std::uint64_t seed = 0; seed < 200; ++seed) {
        World world({.schedule = random_schedule(seed)});
        MemoryStore store(WriteCache::volatile_);
        auto file = make(store, "a");
        world.run([&](Co& co) {
            auto one = filled(1024, 1);
            CHECK(file->write(co, 0, view(one)));
            CHECK(file->flush(co));
            auto two = filled(1024, 2);
            CHECK(file->write(co, 512, view(two)));
        });
        CHECK(sectors(store.medium("a")->contents()) == "122");
        store.power_cut(world);
        outcomes.insert(sectors(store.medium("a")->contents()));
        world.run([&](Co& co) { CHECK(file->flush(co) == Unexpected(Errno::io)); });
    }
    CHECK(outcomes == std::set<std::string>{"11", "12", "112", "122"});
}

TEST_CASE("memory_store: the default schedule's power cut loses all that is unflushed") {
    World world;
    MemoryStore store(WriteCache::volatile_);
    auto file = make(store, "a");
    world.run([&](Co& co) {
        auto one = filled(512, 1);
        CHECK(file->write(co, 0, view(one)));
    });
    store.power_cut(world);
    CHECK(store.medium("a")->contents().size() == 0);
}

TEST_CASE("memory_store: crash states are walked without disturbing the run") {
    World world;
    MemoryStore store(WriteCache::volatile_);
    auto file = make(store, "a");
    MemoryMedium& medium = *store.medium("a");
    world.run([&](Co& co) {
        auto three = filled(1536, 3);
        CHECK(file->write(co, 0, view(three)));
        CHECK(file->truncate(co, 1024));
    });
    const auto pending = medium.pending();
    REQUIRE(pending.size() == 2);
    CHECK(pending[0].pieces() == 3);
    CHECK(pending[1].pieces() == 1);
    std::set<std::string> outcomes;
    for (unsigned subset = 0; subset < 16; ++subset) {
        std::vector<bool> kept;
        for (unsigned bit = 0; bit < 4; ++bit) kept.push_back((subset >> bit & 1) != 0);
        outcomes.insert(sectors(medium.surviving(pending, kept)));
    }
    CHECK(outcomes == std::set<std::string>{"", "3", "03", "33", "003", "303", "033", "333", "00",
                                            "30"});
    CHECK(sectors(medium.contents()) == "33");
    CHECK(medium.pending().size() == 2);
    store.power_cut([](const MemoryMedium&, const PendingWrite& write, std::size_t piece) {
        return write.op == HostOp::write && piece == 1;
    });
    CHECK(sectors(medium.contents()) == "03");
}

TEST_CASE("memory_store: a flush covers what had completed when it was issued") {
    World world;
    MemoryStore store(WriteCache::volatile_);
    auto file = make(store, "a");
    world.run([&](Co& co) {
        auto one = filled(512, 1);
        CHECK(file->write(co, 0, view(one)));
    });
    world.spawn(world.main_thread(), "late writer", [&](Co& co) {
        auto two = filled(512, 2);
        CHECK(file->write(co, 512, view(two)));
    });
    world.spawn(world.main_thread(), "flusher", [&](Co& co) { CHECK(file->flush(co)); });
    world.run_until_idle();
    MemoryMedium& medium = *store.medium("a");
    CHECK(sectors(medium.contents()) == "12");
    CHECK(sectors(medium.durable()) == "1");
    REQUIRE(medium.pending().size() == 1);
    CHECK(medium.pending()[0].offset == 512);
    world.run([&](Co& co) { CHECK(file->flush(co)); });
    CHECK(medium.pending().empty());
    CHECK(medium.durable() == medium.contents());
}

TEST_CASE("memory_store: without a cache only writes in flight are lost or torn") {
    World world;
    MemoryStore store;
    auto file = make(store, "a");
    IoStatus status;
    world.run([&](Co& co) {
        auto one = filled(512, 1);
        CHECK(file->write(co, 0, view(one)));
    });
    world.spawn(world.main_thread(), "writer", [&](Co& co) {
        auto two = filled(1536, 2);
        status = file->write(co, 0, view(two));
    });
    world.step();  // issued, not completed
    REQUIRE(store.medium("a")->pending().size() == 1);
    CHECK_FALSE(store.medium("a")->pending()[0].acknowledged);
    store.power_cut([](const auto&, const auto&, std::size_t piece) { return piece == 1; });
    world.run_until_idle();
    CHECK(status == Unexpected(Errno::io));
    CHECK(sectors(store.medium("a")->contents()) == "12");
    CHECK(store.medium("a")->pending().empty());
}

TEST_CASE("memory_store: injected errors hit the asked operation and change nothing") {
    World world;
    MemoryStore store;
    auto file = make(store, "a");
    MemoryMedium& medium = *store.medium("a");
    medium.add_fault({.op = HostOp::write, .skip = 1, .times = 2, .error = Errno::no_space});
    world.run([&](Co& co) {
        auto data = filled(512, 1);
        CHECK(file->write(co, 0, view(data)));
        CHECK(file->write(co, 512, view(data)) == Unexpected(Errno::no_space));
        CHECK(file->read(co, 0, view(data)));
        CHECK(file->write(co, 512, view(data)) == Unexpected(Errno::no_space));
        CHECK(file->size() == std::uint64_t{512});
        CHECK(file->write(co, 512, view(data)));
    });
    CHECK(medium.operations(HostOp::write) == 4);
}

TEST_CASE("memory_store: the store's capacity bounds all files together") {
    World world;
    MemoryStore store;
    store.set_capacity(3 * ByteImage::chunk_bytes);
    auto a = make(store, "a");
    auto b = make(store, "b");
    world.run([&](Co& co) {
        auto data = filled(2 * ByteImage::chunk_bytes, 1);
        CHECK(a->write(co, 0, view(data)));
        CHECK(b->write(co, 0, view(data)) == Unexpected(Errno::no_space));
        CHECK(b->size() == std::uint64_t{0});
        CHECK(a->write(co, 0, view(data)));  // nothing new is needed
        CHECK(a->write_zeroes(co, 0, INT64_MAX / 2, MayUnmap::no) == Unexpected(Errno::no_space));
        CHECK(a->discard(co, 0, ByteImage::chunk_bytes));
        CHECK(b->write(co, 0, view(data)));
    });
}

TEST_CASE("memory_store: locks belong to the description and end with it") {
    World world;
    MemoryStore store;
    auto first = make(store, "a");
    auto second = *store.open("a", HostAccess::read_only);
    CHECK(first->lock_shared(201));
    CHECK(first->lock_shared(201));
    CHECK(first->test_exclusive(201));
    CHECK(second->test_exclusive(201) == Unexpected(Errno::again));
    CHECK(second->test_exclusive(202));
    CHECK(second->lock_shared(201));
    CHECK(first->test_exclusive(201) == Unexpected(Errno::again));
    CHECK(first->unlock(201));
    CHECK(first->test_exclusive(201) == Unexpected(Errno::again));
    second.reset();
    CHECK(first->test_exclusive(201));
    CHECK(first->lock_shared(7));
    store.power_cut(world);
    CHECK(first->lock_shared(7) == Unexpected(Errno::io));
    CHECK((*store.open("a", HostAccess::read_write))->test_exclusive(7));
}

TEST_CASE("memory_store: a file outlives its name, an operation its description") {
    World world;
    MemoryStore store;
    auto file = make(store, "a");
    IoStatus status = Unexpected(Errno::io);
    world.spawn(world.main_thread(), "writer", [&](Co& co) {
        auto data = filled(512, 1);
        status = file->write(co, 0, view(data));
    });
    world.step();
    CHECK(store.remove("a"));
    CHECK_FALSE(store.exists("a"));
    CHECK(store.remove("a") == Unexpected(Errno::no_entry));
    file.reset();
    world.run_until_idle();
    CHECK(status);
}

TEST_CASE("memory_store: latency and disks take simulated time") {
    struct Disk final : DiskTime {
        void read(Co& co, std::uint64_t bytes) override { co.sleep({std::int64_t(bytes)}); }
        void write(Co& co, std::uint64_t bytes) override { co.sleep({2 * std::int64_t(bytes)}); }
    } disk;
    World world;
    MemoryStore store;
    auto file = make(store, "a");
    auto data = filled(1000, 1);
    world.run([&](Co& co) { CHECK(file->write(co, 0, view(data))); });
    CHECK(world.now().ns == 0);
    store.medium("a")->set_disk(&disk);
    world.run([&](Co& co) { CHECK(file->write(co, 0, view(data))); });
    CHECK(world.now().ns == 2000);
    store.medium("a")->set_latency(nanoseconds(500));
    world.run([&](Co& co) { CHECK(file->read(co, 0, view(data))); });
    CHECK(world.now().ns == 3500);
}

}  // namespace
}  // namespace sim
