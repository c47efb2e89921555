// SPDX-License-Identifier: Apache-2.0
#include "blocklayer/testing/graph_fixture.hpp"

#include "blocklayer/graph/drain.hpp"
#include "sim/testing/catch.hpp"

namespace blocklayer::testing {

GraphFixture::GraphFixture(std::uint64_t seed, LayerOptions options)
    : GraphFixture(sim::WorldOptions{.seed = seed}, options) {}

GraphFixture::GraphFixture(sim::WorldOptions world_options, LayerOptions options)
    : world(std::move(world_options)), layer(world, store, options) {
    layer.add_event_sink([this](const std::shared_ptr<const QmpEvent>& event) {
        events.push_back(*event);
    });
}

Node& GraphFixture::open(Value options) {
    Result<NodeRef> node = run([&](sim::Co& co) { return layer.open(co, options); });
    if (!node) FAIL("open: " << node.error().text);
    nodes.push_back(*node);
    return **node;
}

Error GraphFixture::open_error(Value options) {
    Result<NodeRef> node = run([&](sim::Co& co) {
        Result<NodeRef> opened = layer.open(co, options);
        layer.reap(co);
        return opened;
    });
    if (node) FAIL("was opened");
    return node.error();
}

Node& GraphFixture::memory(std::string name, std::uint64_t size, bool read_only) {
    return open(Value::dict({{"driver", "test-memory"},
                             {"node-name", std::move(name)},
                             {"size", size},
                             {"read-only", read_only}}));
}

Node& GraphFixture::filter(std::string name, const Node& file, std::string takes,
                           std::string withholds) {
    return open(Value::dict({{"driver", "test-filter"},
                             {"node-name", std::move(name)},
                             {"file", file.name()},
                             {"takes", std::move(takes)},
                             {"withholds", std::move(withholds)}}));
}

Node& GraphFixture::format(std::string name, const Node& file, const Node* backing,
                           bool read_only) {
    Value options = Value::dict({{"driver", "test-format"},
                                 {"node-name", std::move(name)},
                                 {"file", file.name()},
                                 {"read-only", read_only}});
    if (backing != nullptr) options.set("backing", backing->name());
    return open(std::move(options));
}

Result<BlockBackend*> GraphFixture::attach(Node& node, std::string_view uses,
                                           std::string_view shares, std::string device_id) {
    auto backend = BlockBackend::make(layer, {perms(uses), perms(shares)});
    if (!device_id.empty()) TRY(backend->attach_device(device_id, "/machine/" + device_id, {}));
    TRY(backend->insert(node));
    backends.push_back(std::move(backend));
    return backends.back().get();
}

BlockBackend& GraphFixture::user(Node& node, std::string_view uses, std::string_view shares,
                                 std::string device_id) {
    Result<BlockBackend*> backend = attach(node, uses, shares, std::move(device_id));
    if (!backend) FAIL("attach: " << backend.error().text);
    return **backend;
}

std::string GraphFixture::try_attach(Node& node, std::string_view uses, std::string_view shares,
                                     std::string device_id) {
    const std::string before = layer.graph().dump();
    Result<BlockBackend*> backend = attach(node, uses, shares, std::move(device_id));
    check();
    if (backend) return "ok";
    CHECK(layer.graph().dump() == before);
    return backend.error().text;
}

void GraphFixture::drop(BlockBackend& backend) {
    std::erase_if(backends, [&](const auto& owned) { return owned.get() == &backend; });
}

void GraphFixture::drop(Node& node) {
    std::erase_if(nodes, [&](const NodeRef& kept) { return kept.get() == &node; });
    run([&](sim::Co& co) { layer.reap(co); });
}

void GraphFixture::check() {
    CHECK(layer.graph().check_whole() == "");
    CHECK(Drain::check(layer) == "");
}

std::string conflict(std::string_view node, std::string_view permissions,
                     std::string_view required_by, std::string_view required_edge,
                     std::string_view unshared_by, std::string_view unshared_edge) {
    return fmt::format(
        "Permission conflict on node '{0}': permissions '{1}' are both required by {2} (uses node "
        "'{0}' as '{3}' child) and unshared by {4} (uses node '{0}' as '{5}' child).",
        node, permissions, required_by, required_edge, unshared_by, unshared_edge);
}

}  // namespace blocklayer::testing
