// SPDX-License-Identifier: Apache-2.0
// A world with a block layer in it, and short ways to make nodes and users in tests.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "blocklayer/layer.hpp"
#include "blocklayer/testing/test_driver.hpp"
#include "sim/memory_store.hpp"
#include "sim/world.hpp"

namespace blocklayer::testing {

// A root or job user of a node, without anything behind it.
class TestUser final : public EdgeParent {
public:
    explicit TestUser(std::string description) : description_(std::move(description)) {}
    std::string describe() const override { return description_; }
    std::string describe_2_9() const override { return description_; }
    void drained_begin(Edge&) override { ++drains; }
    void drained_end(Edge&) override { --drains; }
    bool busy(const Edge&) const override { return is_busy; }

    int drains = 0;
    bool is_busy = false;

private:
    std::string description_;
};

class GraphFixture {
public:
    explicit GraphFixture(std::uint64_t seed = 1, LayerOptions options = {});
    explicit GraphFixture(sim::WorldOptions world_options, LayerOptions options = {});
    GraphFixture(const GraphFixture&) = delete;
    GraphFixture& operator=(const GraphFixture&) = delete;
    ~GraphFixture() { world.close(); }

    template <class Body>
    auto run(Body&& body) {
        return world.run(std::forward<Body>(body));
    }
    // A node from blockdev-add options, which must be right; the fixture keeps it.
    Node& open(Value options);
    // The error of options that must be refused.
    Error open_error(Value options);
    Node& memory(std::string name, std::uint64_t size = 1024 * 1024, bool read_only = false);
    Node& filter(std::string name, const Node& file, std::string takes = "",
                 std::string withholds = "");
    Node& format(std::string name, const Node& file, const Node* backing = nullptr,
                 bool read_only = false);
    MemoryDriver& memory_of(Node& node) { return dynamic_cast<MemoryDriver&>(node.driver()); }
    FilterDriver& filter_of(Node& node) { return dynamic_cast<FilterDriver&>(node.driver()); }
    FormatDriver& format_of(Node& node) { return dynamic_cast<FormatDriver&>(node.driver()); }

    // A backend on the node, as a guest device that says its id. "CW", "CU": uses, shares.
    Result<BlockBackend*> attach(Node& node, std::string_view uses, std::string_view shares,
                                 std::string device_id = "");
    // The same where it must work.
    BlockBackend& user(Node& node, std::string_view uses, std::string_view shares,
                       std::string device_id = "");
    // The text of the refusal, "ok" if it was attached (and stays).
    std::string try_attach(Node& node, std::string_view uses, std::string_view shares,
                           std::string device_id = "");
    void drop(BlockBackend& backend);
    // Lets go of a node the fixture keeps; it is closed when nobody else has it.
    void drop(Node& node);
    Edge& edge(Node& parent, std::string_view name) { return *parent.child(name); }

    // Everything that must hold between operations.
    void check();

    sim::World world;
    sim::MemoryStore store;
    BlockLayer layer;
    std::vector<NodeRef> nodes;
    std::vector<std::unique_ptr<BlockBackend>> backends;
    std::vector<QmpEvent> events;
};

// What M1 says, from its parts.
std::string conflict(std::string_view node, std::string_view permissions,
                     std::string_view required_by, std::string_view required_edge,
                     std::string_view unshared_by, std::string_view unshared_edge);

}  // namespace blocklayer::testing
