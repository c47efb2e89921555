// SPDX-License-Identifier: Apache-2.0
// Holds:   two machines on one file keep out of each other's way by its locks alone; what a refused
//          opener did is undone; auto-read-only opens for writing only while somebody writes; a
//          failed flush is never followed by one that succeeds; wrong options and files are told.
// Method:  two block layers in one world over one store; faults; files that cannot be used.
#include "blocklayer/testing/graph_fixture.hpp"
#include "sim/testing/catch.hpp"

namespace blocklayer::testing {
namespace {

Value file(std::string name, Value more = {}) {
    Value options = Value::dict({{"driver", "file"}, {"node-name", std::move(name)}});
    options.set("filename", "a.img");
    if (more.is_dict())
        for (const auto& [key, value] : more.members()) options.set(key, value);
    return options;
}

struct TwoMachines : GraphFixture {
    TwoMachines() : other(world, store) {
        sim::ByteImage image;
        image.resize(1 << 20);
        store.put("a.img", std::move(image));
    }
    ~TwoMachines() { world.close(); }
    Node& open_other(const Value& options) {
        other_nodes.push_back(*run([&](sim::Co& co) { return other.open(co, options); }));
        return *other_nodes.back();
    }
    std::string attach_other(Node& node, PermSet used, PermSet shared) {
        other_users.push_back(BlockBackend::make(other, {.used = used, .shared = shared}));
        const Status done = other_users.back()->insert(node);
        return done ? "ok" : done.error().text;
    }
    std::string locked() {
        auto watcher = *store.open("a.img", sim::HostAccess::read_only);
        std::string text;
        for (unsigned byte = 0; byte < 300; ++byte)
            if (!watcher->test_exclusive(byte)) text += fmt::format("{} ", byte);
        return text;
    }
    BlockLayer other;
    std::vector<NodeRef> other_nodes;
    std::vector<std::unique_ptr<BlockBackend>> other_users;
};

TEST_CASE("file: two machines and one image", "[file]") {
    TwoMachines machines;
    Node& ours = machines.open(file("ours"));
    Node& theirs = machines.open_other(file("theirs"));
    CHECK(machines.locked() == "");
    BlockBackend& user = machines.user(ours, "CW", "CUR");
    CHECK(machines.locked() == "100 101 201 ");
    CHECK(machines.attach_other(theirs, perms("CW"), PermSet::all()) ==
          "Failed to get \"write\" lock");
    CHECK(machines.attach_other(theirs, perms("C"), perms("CU")) ==
          "Failed to get shared \"write\" lock");
    CHECK(machines.attach_other(theirs, perms("C"), perms("CWU")) == "ok");
    CHECK(machines.locked() == "100 101 201 203 ");
    machines.drop(user);
    CHECK(machines.locked() == "100 203 ");
    CHECK(machines.attach_other(theirs, perms("CW"), PermSet::all()) == "ok");
    machines.check();
}

TEST_CASE("file: locking off sees nothing and is not seen", "[file]") {
    TwoMachines machines;
    Node& ours = machines.open(file("ours", Value::dict({{"locking", "off"}})));
    machines.user(ours, "CWR", "-");
    CHECK(machines.locked() == "");
    Node& theirs = machines.open_other(file("theirs"));
    CHECK(machines.attach_other(theirs, perms("CW"), perms("C")) == "ok");
}

TEST_CASE("file: within a machine the graph speaks first", "[file]") {
    TwoMachines machines;
    Node& node = machines.open(file("n"));
    machines.user(node, "CW", "CU", "D1");
    CHECK(machines.try_attach(node, "W", "CWUR", "D2") ==
          conflict("n", "write", "block device 'D2'", "root", "block device 'D1'", "root"));
    CHECK(machines.locked() == "100 101 201 203 ");
}

TEST_CASE("file: auto-read-only opens for writing only when needed", "[file]") {
    TwoMachines machines;
    machines.store.medium("a.img")->set_read_only(true);
    Node& node = machines.open(file("n", Value::dict({{"auto-read-only", true}})));
    BlockBackend& reader = machines.user(node, "C", "CWUR");
    CHECK(machines.try_attach(node, "CW", "CWUR") ==
          "Could not open 'a.img': Permission denied");
    CHECK(machines.locked() == "100 ");
    machines.store.medium("a.img")->set_read_only(false);
    BlockBackend& writer = machines.user(node, "CW", "CWUR");
    CHECK(machines.locked() == "100 101 ");
    std::vector<std::byte> data(512, std::byte{1});
    machines.run([&](sim::Co& co) {
        CHECK(writer.write(co, 0, std::span<const std::byte>(data)));
        CHECK(reader.read(co, 0, std::span(data)));
    });
    machines.drop(writer);
    CHECK(machines.locked() == "100 ");
}

TEST_CASE("file: a flush that failed once has failed", "[file]") {
    TwoMachines machines;
    Node& node = machines.open(file("n"));
    BlockBackend& user = machines.user(node, "CW", "CWUR");
    const std::vector<std::byte> data(512, std::byte{1});
    machines.store.medium("a.img")->add_fault({sim::HostOp::flush, 0, 1});
    machines.run([&](sim::Co& co) {
        REQUIRE(user.write(co, 0, std::span<const std::byte>(data)));
        CHECK_FALSE(user.flush(co));
        REQUIRE(user.write(co, 0, std::span<const std::byte>(data)));
        CHECK_FALSE(user.flush(co));
    });
}

TEST_CASE("file: what cannot be opened", "[file]") {
    TwoMachines machines;
    Value gone = file("n");
    gone.set("filename", "b.img");
    CHECK(machines.open_error(gone).text == "Could not open 'b.img': No such file or directory");
    Value nameless = file("n");
    nameless.set("filename", "");
    CHECK(machines.open_error(nameless).text ==
          "The 'file' block driver requires a file name");
    CHECK(machines.open_error(file("n", Value::dict({{"aio", "native"}}))).text ==
          "aio=native was specified, but it requires cache.direct=on, which was not specified.");
    CHECK(machines.locked() == "");
}

TEST_CASE("raw: a window of a file", "[raw]") {
    TwoMachines machines;
    Node& node = machines.open(file("f"));
    const auto window = [&](std::int64_t offset, std::int64_t size) {
        Value options = Value::dict({{"driver", "raw"}, {"node-name", "w"}, {"file", "f"}});
        options.set("offset", offset);
        options.set("size", size);
        return options;
    };
    CHECK(machines.open_error(window(2 << 20, 512)).text ==
          "Offset (2097152) cannot be greater than size of the containing file (1048576)");
    CHECK(machines.open_error(window(512, 1 << 20)).text ==
          "The sum of offset (512) and size (1048576) has to be smaller or equal to the  actual "
          "size of the containing file (1048576)");
    CHECK(machines.open_error(window(0, 1000)).text == "Specified size is not multiple of 512");
    CHECK(machines.open_error(window(-1, 512)).text ==
          "Parameter 'offset' expects a non-negative number below 2^64");

    Node& raw = machines.open(window(4096, 8192));
    CHECK(raw.length() == 8192);
    BlockBackend& user = machines.user(raw, "CWR", "CWUR");
    std::vector<std::byte> data(512, std::byte{7});
    machines.run([&](sim::Co& co) {
        REQUIRE(user.write(co, 512, std::span<const std::byte>(data)));
        CHECK_FALSE(user.write(co, 8192, std::span<const std::byte>(data)));
        const Status resized = user.truncate(co, 4096, false);
        REQUIRE_FALSE(resized);
        CHECK(resized.error().text == "Cannot resize fixed-size raw disks");
    });
    std::vector<std::byte> seen(512);
    machines.store.medium("a.img")->contents().read(4096 + 512, seen);
    CHECK(seen == data);
    CHECK(node.length() == 1 << 20);
}

}  // namespace
}  // namespace blocklayer::testing
