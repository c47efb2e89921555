// SPDX-License-Identifier: Apache-2.0
// Holds:   copy-on-read changes where bytes come from, never which bytes are read; `bottom` limits
//          what is copied and freezes the chain down to it; its permissions are the reference's.
// Method:  break the base after a first read: a second read can then only come from the top. Chains
//          of three layers for `bottom`.
#include "blocklayer/graph/graph.hpp"
#include "blocklayer/testing/graph_fixture.hpp"
#include "sim/testing/catch.hpp"

namespace blocklayer {
namespace {

using testing::conflict;
using testing::FormatDriver;
using testing::GraphFixture;

constexpr std::uint64_t cluster = FormatDriver::cluster_bytes;

Value over(std::string name, const Node& file, std::string bottom = "") {
    Value options = Value::dict(
        {{"driver", "copy-on-read"}, {"node-name", std::move(name)}, {"file", file.name()}});
    if (!bottom.empty()) options.set("bottom", std::move(bottom));
    return options;
}

// base <- mid <- top, 1 MiB each; base is all 'b', cluster 0 of mid is 'm'.
struct Chain {
    explicit Chain(GraphFixture& fixture) : f(fixture) {
        std::fill(f.memory_of(base_file).bytes.begin(), f.memory_of(base_file).bytes.end(),
                  std::byte{'b'});
        for (std::uint64_t i = 0; i < 16; ++i) f.format_of(base).allocated.insert(i);
        std::fill_n(f.memory_of(mid_file).bytes.begin(), cluster, std::byte{'m'});
        f.format_of(mid).allocated.insert(0);
    }
    IoStatus read(BlockBackend& user, std::uint64_t offset, std::uint64_t length,
                  std::string* text = nullptr) {
        std::string into(length, '?');
        const IoStatus status = f.run([&](sim::Co& co) {
            return user.read(co, offset, sim::IoView(std::as_writable_bytes(std::span(into))));
        });
        if (text != nullptr) *text = into;
        return status;
    }

    GraphFixture& f;
    Node& base_file = f.memory("base-file");
    Node& base = f.format("base", base_file);
    Node& mid_file = f.memory("mid-file");
    Node& mid = f.format("mid", mid_file, &base);
    Node& top_file = f.memory("top-file");
    Node& top = f.format("top", top_file, &mid);
};

TEST_CASE("copy-on-read: a second read does not need the base", "[copy_on_read]") {
    GraphFixture f;
    Chain chain(f);
    BlockBackend& user = f.user(f.open(over("cor", chain.top)), "C", "CU");
    std::string text;
    REQUIRE(chain.read(user, cluster - 100, 200, &text));
    CHECK(text == std::string(100, 'm') + std::string(100, 'b'));
    CHECK(f.format_of(chain.top).allocated == std::set<std::uint64_t>{0, 1});

    f.memory_of(chain.base_file).failing = {"read"};
    f.memory_of(chain.mid_file).failing = {"read"};
    std::string again;
    REQUIRE(chain.read(user, cluster - 100, 200, &again));
    CHECK(again == text);
    CHECK(chain.read(user, 2 * cluster, 1) == Unexpected(Errno::io));  // the fault was real
    f.check();
}

TEST_CASE("copy-on-read: nothing from below bottom is copied", "[copy_on_read]") {
    GraphFixture f;
    Chain chain(f);
    BlockBackend& user = f.user(f.open(over("cor", chain.top, "mid")), "C", "CU");
    std::string text;
    REQUIRE(chain.read(user, 0, 3 * cluster, &text));
    CHECK(text == std::string(cluster, 'm') + std::string(2 * cluster, 'b'));
    CHECK(f.format_of(chain.top).allocated == std::set<std::uint64_t>{0});
    CHECK(f.format_of(chain.mid).allocated == std::set<std::uint64_t>{0});
    f.check();
}

TEST_CASE("copy-on-read: the chain is frozen down to bottom", "[copy_on_read]") {
    GraphFixture f;
    Chain chain(f);
    Node& cor = f.open(over("cor", chain.top, "mid"));
    Graph& graph = f.layer.graph();
    CHECK(graph.set_child(chain.top, "backing", Role::cow, nullptr).error().text ==
          "Cannot change frozen 'backing' link from 'top' to 'mid'");
    CHECK(graph.set_child(chain.mid, "backing", Role::cow, nullptr));  // below bottom
    CHECK(f.open_error(over("second", cor, "mid")).text ==
          "Cannot change 'file' link from 'cor' to 'top'");
    f.drop(cor);
    CHECK(graph.set_child(chain.top, "backing", Role::cow, nullptr));
    f.check();
}

TEST_CASE("copy-on-read: which bottom nodes there are", "[copy_on_read]") {
    GraphFixture f;
    Chain chain(f);
    const std::string before = f.layer.graph().dump();
    CHECK(f.open_error(over("cor", chain.top, "nosuch")).text == "Bottom node 'nosuch' not found");
    CHECK(f.open_error(over("cor", chain.top, "top-file")).text ==
          "Bottom node 'top-file' is not in the backing chain of 'top'");
    CHECK(f.open_error(over("cor", chain.mid, "top")).text ==
          "Bottom node 'top' is not in the backing chain of 'mid'");
    CHECK(f.layer.graph().dump() == before);
    f.open(over("cor", chain.top, "top"));
    f.check();
}

TEST_CASE("copy-on-read: it may store what it reads from its first moment on", "[copy_on_read]") {
    GraphFixture f;
    Node& file = f.memory("f");
    Node& raw = f.filter("raw", file);
    Node& cor = f.open(over("cor", raw));
    CHECK(f.layer.graph().dump() == "node 'raw' --file--> f U / ALL\n"
                                    "node 'cor' --file--> raw U / ALL\n");
    f.user(cor, "CW", "CU", "D");
    CHECK(f.layer.graph().dump() == "node 'raw' --file--> f CWU / CU\n"
                                    "node 'cor' --file--> raw CWU / CU\n"
                                    "block device 'D' --root--> cor CW / CU\n");
    f.check();
}

TEST_CASE("copy-on-read: R16 and R17, nowhere that cannot be written", "[copy_on_read]") {
    GraphFixture f;
    Node& file = f.memory("f");
    Node& raw = f.filter("raw", file);
    f.filter("bd6", file, "", "U");
    CHECK(f.open_error(over("cor", raw)).text ==
          conflict("f", "write unchanged", "node 'raw'", "file", "node 'bd6'", "file"));
    Node& read_only = f.memory("ro", 1 << 20, /*read_only=*/true);
    CHECK(f.open_error(over("cor", read_only)).text == "Block node is read-only");
    f.check();
}

}  // namespace
}  // namespace blocklayer
