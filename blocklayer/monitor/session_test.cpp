// SPDX-License-Identifier: Apache-2.0
// Holds:   a session greets, negotiates, answers in order, one command at a time, and tells events
//          with their dates; it ends without a trace while a command runs.
// Method:  sessions over a layer in memory; commands of the test's own that wait.
#include "blocklayer/monitor/session.hpp"

#include "blocklayer/layer.hpp"
#include "blocklayer/monitor/command.hpp"
#include "sim/memory_store.hpp"
#include "sim/testing/catch.hpp"

namespace blocklayer {
namespace {

Result<Value> nap(sim::Co& co, BlockLayer& layer, const Value& arguments) {
    co.sleep(sim::microseconds(arguments.at("us").as_int()));
    layer.emit_event("TEST_WOKE", Value::dict({{"us", arguments.at("us")}}));
    return arguments.at("us");
}
const CommandRegistration napping(
    {.name = "x-test-nap", .args = {required("us", "int")}, .returns = "int", .run = nap});

struct Fixture {
    sim::World world;
    sim::MemoryStore store;
    BlockLayer layer{world, store};
    std::string seen;
    std::unique_ptr<Session> session = std::make_unique<Session>(
        layer, [this](std::string_view line) { seen += line; },
        SessionOptions{.epoch_ns = 1'000'000'000});

    std::string say(std::string_view text) {
        seen.clear();
        session->feed(text);
        world.run_until_idle();
        return std::exchange(seen, {});
    }
};

TEST_CASE("session: greeting, negotiation, then commands", "[session]") {
    Fixture f;
    CHECK(f.seen.starts_with("{\"QMP\": {\"version\": {\"qemu\": {\"micro\": "));
    CHECK(f.seen.ends_with("\"capabilities\": [\"oob\"]}}\r\n"));
    CHECK(f.say("{'execute':'query-version','id':1}") ==
          "{\"id\": 1, \"error\": {\"class\": \"CommandNotFound\", \"desc\": \"Expecting "
          "capabilities negotiation with 'qmp_capabilities'\"}}\r\n");
    CHECK(f.say("{'execute':'qmp_capabilities'}") == "{\"return\": {}}\r\n");
    CHECK(f.say("{'execute':'zz'}") ==
          "{\"error\": {\"class\": \"CommandNotFound\", \"desc\": \"The command zz has not been "
          "found\"}}\r\n");
}

TEST_CASE("session: commands run one at a time, in order, with events between", "[session]") {
    Fixture f;
    f.say("{'execute':'qmp_capabilities'}");
    f.seen.clear();
    Session other(f.layer, [](std::string_view) {});
    other.feed("{'execute':'qmp_capabilities'}");
    const std::string lines = f.say(
        "{'execute':'x-test-nap','arguments':{'us':20},'id':'a'}"
        "{'execute':'x-test-nap','arguments':{'us':10},'id':'b'}");
    CHECK(lines ==
          "{\"timestamp\": {\"seconds\": 1, \"microseconds\": 20}, \"event\": \"TEST_WOKE\", "
          "\"data\": {\"us\": 20}}\r\n{\"return\": 20, \"id\": \"a\"}\r\n"
          "{\"timestamp\": {\"seconds\": 1, \"microseconds\": 30}, \"event\": \"TEST_WOKE\", "
          "\"data\": {\"us\": 10}}\r\n{\"return\": 10, \"id\": \"b\"}\r\n");
}

TEST_CASE("session: it may go while a command runs", "[session]") {
    Fixture f;
    f.say("{'execute':'qmp_capabilities'}");
    f.session->feed("{'execute':'x-test-nap','arguments':{'us':20}}{'execute':'query-version'}");
    f.world.step();  // into the nap
    f.session.reset();
    f.world.run_until_idle();
    CHECK(f.seen.empty());
}

TEST_CASE("session: nothing is answered after quit", "[session]") {
    Fixture f;
    f.say("{'execute':'qmp_capabilities'}");
    const std::string lines = f.say("{'execute':'quit'}{'execute':'query-version'}");
    CHECK(lines.find("\"event\": \"SHUTDOWN\"") < lines.find("{\"return\": {}}\r\n"));
    CHECK(lines.ends_with("{\"return\": {}}\r\n"));
    CHECK(quit_requested(f.layer));
}

TEST_CASE("session: depth that would overflow a small stack is taken and echoed", "[session]") {
    Fixture f;
    f.say("{'execute':'qmp_capabilities'}");
    const std::string deep = std::string(1000, '[') + std::string(1000, ']');
    CHECK(f.say("{'execute':'zz','id':" + deep + "}").find(deep) != std::string::npos);
    CHECK(f.say("{'execute':'query-version','arguments':{'a':" + deep + "}}") ==
          "{\"error\": {\"class\": \"GenericError\", \"desc\": \"Parameter 'a' is "
          "unexpected\"}}\r\n");
}

}  // namespace
}  // namespace blocklayer
