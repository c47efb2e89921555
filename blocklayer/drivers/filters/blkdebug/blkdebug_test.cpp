// SPDX-License-Identifier: Apache-2.0
// Holds:   rules fail, delay and stop exactly the requests they are about; the file of rules says
//          what the options say; permissions are taken and withheld as asked (R11 to R22, R47).
// Method:  a blkdebug over memory, requests through it, simulated time; texts of the real program.
#include "blocklayer/requests/debug_event.hpp"
#include "blocklayer/graph/graph.hpp"
#include "blocklayer/testing/graph_fixture.hpp"
#include "sim/testing/catch.hpp"

namespace blocklayer {
namespace {

using testing::conflict;
using testing::GraphFixture;
using testing::perms;

Value blkdebug(std::string name, const Node& image, Value more = Value::dict()) {
    Value options = Value::dict(
        {{"driver", "blkdebug"}, {"node-name", std::move(name)}, {"image", image.name()}});
    for (const auto& [key, value] : more.members()) options.set(key, value);
    return options;
}

Value list(Value item) { return Value::list({std::move(item)}); }

Value takes(const char* what, std::vector<std::string> permissions) {
    Value names = Value::list();
    for (std::string& permission : permissions) names.items().emplace_back(std::move(permission));
    return Value::dict({{what, std::move(names)}});
}

struct Io {
    Io(GraphFixture& fixture, Node& node) : f(fixture), user(f.user(node, "CWR", "CWUR")) {}
    IoStatus write(std::uint64_t offset = 0, std::size_t length = 512) {
        return f.run([&](sim::Co& co) { return write(co, offset, length); });
    }
    IoStatus write(sim::Co& co, std::uint64_t offset = 0, std::size_t length = 512) {
        std::vector<std::byte> bytes(length);
        return user.write(co, offset, sim::IoView(std::span(bytes)));
    }
    IoStatus read(std::uint64_t offset = 0, std::size_t length = 512) {
        std::vector<std::byte> bytes(length);
        return f.run([&](sim::Co& co) {
            return user.read(co, offset, sim::IoView(std::span(bytes)));
        });
    }
    IoStatus zero() {
        return f.run([&](sim::Co& co) { return user.write_zeroes(co, 0, 512); });
    }
    IoStatus flush() {
        return f.run([&](sim::Co& co) { return user.flush(co); });
    }

    GraphFixture& f;
    BlockBackend& user;
};

const IoStatus io_error = Unexpected(Errno::io);
const IoStatus no_space = Unexpected(Errno::no_space);

TEST_CASE("blkdebug: a rule stays in force until an event brings other ones", "[blkdebug]") {
    GraphFixture f;
    Value rules = Value::list({Value::dict({{"event", "pwritev"}, {"iotype", "read"}}),
                               Value::dict({{"event", "pwritev_zero"},
                                            {"iotype", "write-zeroes"},
                                            {"errno", 28}})});
    Io io(f, f.open(blkdebug("b", f.memory("f"), Value::dict({{"inject-error", rules}}))));
    CHECK(io.read());
    CHECK(io.write());
    CHECK(io.read() == io_error);
    CHECK(io.read() == io_error);
    CHECK(io.zero() == no_space);
    CHECK(io.read());
    CHECK(io.write());
    CHECK(io.zero() == no_space);
    f.check();
}

TEST_CASE("blkdebug: once, and which sectors", "[blkdebug]") {
    GraphFixture f;
    Value once = Value::dict({{"event", "none"}, {"sector", 1}, {"once", true}});
    Io io(f, f.open(blkdebug("b", f.memory("f"), Value::dict({{"inject-error", list(once)}}))));
    CHECK(io.read(0, 512));
    CHECK(io.read(1024, 512));
    CHECK(io.write(513, 512));  // not its first byte
    CHECK(io.write(0, 1024) == io_error);
    CHECK(io.write(0, 1024));
}

TEST_CASE("blkdebug: rules look at the state from before the event", "[blkdebug]") {
    GraphFixture f;
    Value inject = Value::dict(
        {{"event", "pwritev"}, {"iotype", "write"}, {"errno", 28}, {"state", 2}});
    Value to_2 = Value::dict({{"event", "pwritev"}, {"state", 1}, {"new_state", 2}});
    Value to_3 = Value::dict({{"event", "pwritev"}, {"new_state", 3}});
    Io first(f, f.open(blkdebug("b", f.memory("f"),
                                Value::dict({{"inject-error", list(inject)},
                                             {"set-state", Value::list({to_2, to_3})}}))));
    CHECK(first.write());
    CHECK(first.write() == no_space);
    // Where two set the state, the one named first does: never in state 2 here.
    Io second(f, f.open(blkdebug("c", f.memory("g"),
                                 Value::dict({{"inject-error", list(inject)},
                                              {"set-state", Value::list({to_3, to_2})}}))));
    CHECK(second.write());
    CHECK(second.write());
    CHECK(second.write());
}

TEST_CASE("blkdebug: a flush fails only if it would have had something to do", "[blkdebug]") {
    GraphFixture f;
    Value rule = Value::dict({{"event", "none"}, {"iotype", "flush"}});
    Io io(f, f.open(blkdebug("b", f.memory("f"), Value::dict({{"inject-error", list(rule)}}))));
    CHECK(io.flush());
    CHECK(io.write());
    CHECK(io.flush() == io_error);
}

TEST_CASE("blkdebug: delays let simulated time pass", "[blkdebug]") {
    GraphFixture f;
    Value at_event = Value::dict({{"event", "pwritev"}, {"ns", 700}, {"once", true}});
    Value in_request = Value::dict({{"event", "none"}, {"iotype", "read"}, {"ns", 50}});
    Io io(f, f.open(blkdebug(
                 "b", f.memory("f"),
                 Value::dict({{"x-delay", Value::list({at_event, in_request})}}))));
    const auto took = [&](auto request) {
        const sim::Instant start = f.world.now();
        CHECK(request());
        return (f.world.now() - start).ns;
    };
    CHECK(took([&] { return io.write(); }) == 700);
    CHECK(took([&] { return io.write(); }) == 0);
    CHECK(took([&] { return io.read(); }) == 50);
    CHECK(took([&] { return io.read(); }) == 50);
}

TEST_CASE("blkdebug: a breakpoint stops one request until it is resumed", "[blkdebug]") {
    GraphFixture f;
    Node& node = f.open(blkdebug("b", f.memory("f")));
    Io io(f, node);
    std::vector<std::string> said;
    const auto say = [&](std::string_view text) { said.emplace_back(text); };
    Breakpoints& points = *node.driver().breakpoints();
    CHECK_FALSE(points.set("nosuch", "a", say));
    REQUIRE(points.set("pwritev", "a", say));
    CHECK_FALSE(points.resume("a"));

    bool ended = false;
    f.run([&](sim::Co& co) {
        f.world.spawn(f.world.main_thread(), "writer", [&](sim::Co& own) {
            CHECK(io.write(own));
            ended = true;
        });
        co.sleep(sim::nanoseconds(10));
        CHECK(points.is_suspended("a"));
        CHECK_FALSE(ended);
        CHECK(io.write(co));  // the next one passes
        CHECK_FALSE(points.remove("b"));
        CHECK(points.resume("a"));
        CHECK_FALSE(points.resume("a"));
        co.sleep(sim::nanoseconds(10));
        CHECK(ended);
    });
    CHECK(said == std::vector<std::string>{"blkdebug: Suspended request 'a'",
                                           "blkdebug: Resuming request 'a'"});
    REQUIRE(points.set("pwritev", "c", say));
    CHECK(points.remove("c"));
    CHECK(io.write());
    f.check();
}

TEST_CASE("blkdebug: events of the request layer", "[blkdebug]") {
    // Each is seen by a rule that lets the next write fail.
    const auto fires = [](const char* event, Value options, auto request) {
        GraphFixture f;
        options.set("discard", "unmap");
        options.set("inject-error", list(Value::dict({{"event", event}, {"iotype", "discard"}})));
        Node& blk = f.open(blkdebug("b", f.memory("f"), std::move(options)));
        Io io(f, f.open(Value::dict({{"driver", "raw"}, {"node-name", "r"}, {"file", "b"}})));
        CHECK(request(io));
        BlockBackend& direct = f.user(blk, "W", "CWUR");
        return !f.run([&](sim::Co& co) { return direct.discard(co, 0, 4096); });
    };
    const auto write = [](Io& io) { return io.write(0, 4096); };
    const auto inside = [](Io& io) { return io.write(100, 10); };
    const auto across = [](Io& io) { return io.write(4000, 96 + 4096); };
    const Value plain = Value::dict(), aligned = Value::dict({{"align", 4096}});
    CHECK(fires("pwritev", plain, write));
    CHECK(fires("pwritev_done", plain, write));
    CHECK(fires("write_aio", plain, write));
    CHECK_FALSE(fires("read_aio", plain, write));
    CHECK_FALSE(fires("pwritev_zero", plain, write));
    CHECK(fires("read_aio", plain, [](Io& io) { return io.read(); }));
    CHECK(fires("pwritev_zero", plain, [](Io& io) { return io.zero(); }));
    for (const char* event : {"pwritev_rmw_head", "pwritev_rmw_after_head", "pwritev_rmw_tail",
                              "pwritev_rmw_after_tail"})
        CHECK(fires(event, aligned, inside));
    CHECK(fires("pwritev_rmw_head", aligned, across));
    CHECK_FALSE(fires("pwritev_rmw_tail", aligned, across));
    CHECK_FALSE(fires("pwritev_rmw_head", aligned, write));
    CHECK(fires("flush_to_os", plain, [](Io& io) { return io.flush(); }));
    CHECK_FALSE(fires("flush_to_disk", plain, [](Io& io) { return io.flush(); }));
    CHECK(fires("flush_to_disk", plain, [](Io& io) {
        if (!io.write()) return io_error;
        return io.flush();
    }));
}

std::string config_error(std::string_view text) {
    GraphFixture f;
    Node& memory = f.memory("f");
    f.run([&](sim::Co& co) {
        auto file = *f.store.create("rules");
        CHECK(file->write(co, 0, std::as_bytes(std::span(text))));
    });
    Result<NodeRef> node = f.run([&](sim::Co& co) {
        return f.layer.open(co, blkdebug("b", memory, Value::dict({{"config", "rules"}})));
    });
    return node ? "ok" : node.error().text;
}

TEST_CASE("blkdebug: faults in a file of rules", "[blkdebug]") {
    const std::pair<const char*, const char*> cases[] = {
        {"", "ok"},
        {"# c\n\n[inject-error]\n  event = \"read_aio\"\n errno = \"28\"\n", "ok"},
        {"[inject-error \"id\"]\nevent = \"read_aio\"\n", "ok"},
        {"[set-state]\nevent = \"read_aio\"\n", "ok"},
        {"[foo]\nevent = \"read_aio\"\n", "There is no option group 'foo'"},
        {"[foo bar", "There is no option group 'foo bar'"},
        {"[inject-error]\n", "Missing event name for rule"},
        {"[inject-error]\nevent = \"foo\"\n", "invalid parameter value: foo"},
        {"[inject-error]\nevent = read_aio\n", "invalid parameter value: "},
        {"[inject-error]\nevent = \"read_aio\"\niotype = \"foo\"\n",
         "invalid parameter value: foo"},
        {"[inject-error]\nevent=\"read_aio\"\n", "Invalid parameter 'event=\"read_aio\"'"},
        {"[inject-error]\nevent = \"read_aio\"\nfoo = \"x\"\n", "Invalid parameter 'foo'"},
        {"[inject-error]\nerrno = \"x\"\n", "Parameter 'errno' expects a number"},
        {"[inject-error]\nonce = \"maybe\"\n", "Parameter 'once' expects 'on' or 'off'"},
        {"[set-state]\nonce = \"on\"\n", "Invalid parameter 'once'"},
        {"event = \"read_aio\"\n", "no group defined"},
    };
    for (const auto& [text, expected] : cases) CHECK(config_error(text) == expected);
    CHECK(config_error(std::string_view("\0\0", 2)) == "parse error");
}

TEST_CASE("blkdebug: a file of rules does what the options do", "[blkdebug]") {
    GraphFixture f;
    constexpr std::string_view text =
        "[inject-error]\nevent = \"pwritev\"\nstate = \"2\"\nerrno = \"28\"\nonce = \"on\"\n"
        "[set-state]\nevent = \"pwritev\"\nstate = \"1\"\nnew_state = \"2\"\n";
    f.run([&](sim::Co& co) {
        auto file = *f.store.create("rules");
        CHECK(file->write(co, 0, std::as_bytes(std::span(text))));
    });
    Io io(f, f.open(blkdebug("b", f.memory("f"), Value::dict({{"config", "rules"}}))));
    CHECK(io.write());
    CHECK(io.write() == no_space);
    CHECK(io.write());
}

TEST_CASE("blkdebug: R11 to R22, permissions taken and withheld", "[blkdebug]") {
    GraphFixture f;
    const auto open = [&](const char* name, const Node& on, const char* what,
                          std::vector<std::string> permissions) {
        return blkdebug(name, on, takes(what, std::move(permissions)));
    };
    const char* take = "take-child-perms";
    const char* withhold = "unshare-child-perms";
    Node& f1 = f.memory("f1");
    f.open(open("bd", f1, take, {"write"}));
    CHECK(f.open_error(open("bd2", f1, withhold, {"write"})).text ==
          conflict("f1", "write", "node 'bd'", "image", "node 'bd2'", "image"));

    Node& f2 = f.memory("f2");
    f.open(open("bd3", f2, withhold, {"resize"}));
    CHECK(f.try_attach(f2, "R", "CWUR") ==
          conflict("f2", "resize", "an unnamed block device", "root", "node 'bd3'", "image"));

    Node& f3 = f.memory("f3");
    f.open(open("bd4", f3, withhold, {"consistent-read"}));
    CHECK(f.open_error(open("bd5", f3, take, {"consistent-read"})).text ==
          conflict("f3", "consistent read", "node 'bd5'", "image", "node 'bd4'", "image"));

    Node& f4 = f.memory("f4");
    const std::vector<std::string> all = {"consistent-read", "write", "write-unchanged", "resize"};
    f.open(open("p7", f4, withhold, all));
    CHECK(f.open_error(open("p8", f4, take, all)).text ==
          conflict("f4", "consistent read, write, write unchanged, resize", "node 'p8'", "image",
                   "node 'p7'", "image"));

    Node& f5 = f.memory("f5");
    f.open(open("p1", f5, take, {"write"}));
    f.open(open("p2", f5, take, {"resize"}));
    CHECK(f.open_error(open("p3", f5, withhold, {"write", "resize"})).text ==
          conflict("f5", "resize", "node 'p2'", "image", "node 'p3'", "image"));

    Node& ro = f.memory("ro", 1 << 20, /*read_only=*/true);
    CHECK(f.open_error(open("w", ro, take, {"write"})).text == "Block node is read-only");
    CHECK(f.open_error(open("u", ro, take, {"write-unchanged"})).text == "Block node is read-only");
    f.open(open("r", ro, take, {"resize"}));
    f.check();
}

TEST_CASE("blkdebug: R47, no writer of an odd length without resize", "[blkdebug]") {
    GraphFixture f;
    Node& odd = f.open(blkdebug("b", f.memory("f", 1536), Value::dict({{"align", 4096}})));
    CHECK(f.try_attach(odd, "CW", "CU") ==
          "Cannot get 'write' permission without 'resize': Image size is not a multiple of request "
          "alignment");
    CHECK(f.try_attach(odd, "CWR", "CU") == "ok");
}

}  // namespace
}  // namespace blocklayer
