// SPDX-License-Identifier: Apache-2.0
// Holds:   a PosixStore and a MemoryStore give the same answers to the same history; its locks are
//          those another process sees.
// Method:  random histories on both, side by side, in a temporary directory.
#include "sim/posix_store.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <filesystem>

#include "sim/memory_store.hpp"
#include "sim/rng.hpp"
#include "sim/testing/catch.hpp"
#include "sim/world.hpp"

namespace sim {
namespace {

struct Directory {
    Directory() {
        REQUIRE(mkdtemp(path.data()) != nullptr);
        store = std::make_unique<PosixStore>(path);
    }
    ~Directory() { std::filesystem::remove_all(path); }
    std::string path = "/tmp/blockstep_store_XXXXXX";
    std::unique_ptr<PosixStore> store;
};

IoView view(std::vector<std::byte>& bytes) { return IoView(std::span<std::byte>(bytes)); }

TEST_CASE("posix_store: answers as a memory store does") {
    for (std::uint64_t seed = 1; seed <= 5; ++seed) {
        INFO("seed " << seed);
        Directory directory;
        MemoryStore memory;
        World world;
        std::unique_ptr<HostFile> files[] = {*directory.store->create("a"), *memory.create("a")};
        world.run([&](Co& co) {
            RandomStream random(seed, "posix_store_test");
            for (int step = 0; step < 60; ++step) {
                const std::uint64_t offset = random.below(100'000);
                const std::uint64_t length = 1 + random.below(40'000);
                const std::uint64_t kind = random.below(6);
                std::vector<std::byte> data(length, static_cast<std::byte>(random.next()));
                for (auto& file : files) {
                    switch (kind) {
                    case 0: CHECK(file->truncate(co, offset)); break;
                    case 1: CHECK(file->write_zeroes(co, offset, length, MayUnmap::yes)); break;
                    case 2: CHECK(file->write_zeroes(co, offset, length, MayUnmap::no)); break;
                    case 3: {
                        const IoStatus status = file->discard(co, offset, length);
                        CHECK(status.has_value());
                        break;
                    }
                    default: CHECK(file->write(co, offset, view(data)));
                    }
                }
                CHECK(files[0]->size() == files[1]->size());
                std::vector<std::byte> read[] = {std::vector<std::byte>(length, std::byte{9}),
                                                 std::vector<std::byte>(length, std::byte{8})};
                for (int i = 0; i < 2; ++i) CHECK(files[i]->read(co, offset, view(read[i])));
                CHECK(read[0] == read[1]);
            }
            CHECK(files[0]->flush(co));
        });
    }
}

TEST_CASE("posix_store: holes are told from data, ends are exact") {
    Directory directory;
    World world;
    auto file = *directory.store->create("a");
    world.run([&](Co& co) {
        std::vector<std::byte> data(65536, std::byte{1});
        CHECK(file->write(co, 1 << 20, view(data)));
        CHECK(file->truncate(co, 2 << 20));
        const HostExtent hole = *file->extent(0, 1 << 21);
        CHECK_FALSE(hole.data);
        CHECK(hole.length == 1 << 20);
        const HostExtent inside = *file->extent(1 << 20, 100);
        CHECK(inside.data);
        CHECK(inside.length == 100);
        CHECK((*file->extent((1 << 20) + 65536, 1 << 21)).length == (1 << 20) - 65536);
        CHECK(file->extent(2 << 20, 1) == Unexpected(Errno::invalid));
        CHECK(*file->allocated_bytes() >= 65536);
        CHECK(*file->allocated_bytes() < 1 << 20);
        CHECK(file->write(co, UINT64_MAX, view(data)) == Unexpected(Errno::too_big));
        CHECK(file->truncate(co, UINT64_MAX) == Unexpected(Errno::too_big));
    });
}

TEST_CASE("posix_store: what direct requests must be a multiple of, the host takes") {
    Directory directory;
    const std::unique_ptr<HostFile> file = *directory.store->create("a");
    World world;
    world.run([&](Co& co) { REQUIRE(file->truncate(co, 65536)); });
    const std::uint32_t alignment = file->direct_alignment();
    CHECK((alignment == 512 || alignment == 1024 || alignment == 2048 || alignment == 4096));
    CHECK(file->direct_alignment() == alignment);

    const int direct = ::open((directory.path + "/a").c_str(), O_RDONLY | O_DIRECT);
    if (direct >= 0) {
        alignas(4096) std::byte page[4096];
        CHECK(::pread(direct, page, alignment, alignment) == alignment);
        ::close(direct);
    }
    CHECK((*MemoryStore().create("a"))->direct_alignment() == 512);
}

TEST_CASE("posix_store: opening says what the host says") {
    Directory directory;
    PosixStore& store = *directory.store;
    CHECK(store.open("none", HostAccess::read_only).error() == Errno::no_entry);
    CHECK(PosixStore().open(directory.path, HostAccess::read_only).error() == Errno::is_directory);
    CHECK(PosixStore().open("", HostAccess::read_only).error() == Errno::no_entry);
    CHECK(store.create("b"));
    CHECK(store.create("a"));
    CHECK(store.list() == std::vector<std::string>{"a", "b"});
    CHECK(store.remove("a"));
    CHECK_FALSE(store.exists("a"));
    World world;
    world.run([&](Co& co) {
        auto reader = *store.open("b", HostAccess::read_only);
        std::vector<std::byte> data(10);
        CHECK(reader->write(co, 0, view(data)) == Unexpected(Errno::bad_file));
    });
}

TEST_CASE("posix_store: locks are the description's, seen by other processes") {
    Directory directory;
    auto first = *directory.store->create("a");
    auto second = *directory.store->open("a", HostAccess::read_only);
    CHECK(first->lock_shared(201));
    CHECK(first->test_exclusive(201));
    CHECK(second->test_exclusive(201) == Unexpected(Errno::again));
    CHECK(second->lock_shared(201));
    CHECK(first->unlock(201));
    CHECK(first->test_exclusive(201) == Unexpected(Errno::again));
    second.reset();
    CHECK(first->test_exclusive(201));

    // Another process holds a byte exclusively: a shared lock cannot be had.
    const int fd = ::open((directory.path + "/a").c_str(), O_RDWR);
    struct flock lock {};
    lock.l_type = F_WRLCK;
    lock.l_start = 100;
    lock.l_len = 1;
    REQUIRE(::fcntl(fd, F_OFD_SETLK, &lock) == 0);
    CHECK(first->lock_shared(100) == Unexpected(Errno::again));
    ::close(fd);
    CHECK(first->lock_shared(100));
}

}  // namespace
}  // namespace sim
