// SPDX-License-Identifier: Apache-2.0
// x-debug-query-block-graph: all parents and nodes, numbered when first mentioned, and all edges.
// The lists come newest first, as the reference builds them.
#include <algorithm>
#include <unordered_map>

#include "blocklayer/jobs/block_job.hpp"
#include "blocklayer/layer.hpp"
#include "blocklayer/monitor/command.hpp"

namespace blocklayer {
namespace {

const TypeRegistration node_type({.name = "XDbgBlockGraphNodeType",
                                  .meta = TypeSpec::Meta::enumeration,
                                  .values = {"block-backend", "block-job", "block-driver"}});
const TypeRegistration node({.name = "XDbgBlockGraphNode",
                             .members = {required("id", "uint64"),
                                         required("type", "XDbgBlockGraphNodeType"),
                                         required("name", "str")}});
const TypeRegistration edge({.name = "XDbgBlockGraphEdge",
                             .members = {required("parent", "uint64"), required("child", "uint64"),
                                         required("name", "str"),
                                         required("perm", "[BlockPermission]"),
                                         required("shared-perm", "[BlockPermission]")}});
const TypeRegistration graph({.name = "XDbgBlockGraph",
                              .members = {required("nodes", "[XDbgBlockGraphNode]"),
                                          required("edges", "[XDbgBlockGraphEdge]")}});

Value wire_list(PermSet set) {
    Value list = Value::list();
    for (const Perm perm :
         {Perm::resize, Perm::write_unchanged, Perm::write, Perm::consistent_read})
        if (set.contains(perm)) list.push(wire_name(perm));
    return list;
}

class Lister {
public:
    void parent(const EdgeParent& parent, std::string_view type, std::string name) {
        nodes_.push_back(Value::dict(
            {{"id", Value(id(parent))}, {"type", Value(type)}, {"name", Value(std::move(name))}}));
    }
    void edge(const Edge& edge) {
        const std::uint64_t from = id(edge.parent()), to = id(edge.child());
        edges_.push_back(Value::dict({{"parent", Value(from)},
                                      {"child", Value(to)},
                                      {"name", Value(edge.name())},
                                      {"perm", wire_list(edge.claim().used)},
                                      {"shared-perm", wire_list(edge.claim().shared)}}));
    }
    Value result() {
        return Value::dict({{"nodes", newest_first(nodes_)}, {"edges", newest_first(edges_)}});
    }

private:
    static Value newest_first(std::vector<Value>& items) {
        Value list = Value::list();
        std::for_each(items.rbegin(), items.rend(), [&](Value& item) { list.push(item); });
        return list;
    }
    std::uint64_t id(const EdgeParent& of) {
        return ids_.try_emplace(&of, ids_.size() + 1).first->second;
    }

    std::unordered_map<const EdgeParent*, std::uint64_t> ids_;  // asked only, never walked
    std::vector<Value> nodes_, edges_;
};

std::string backend_name(const BlockBackend& backend) {
    if (!backend.name().empty()) return backend.name();
    return backend.device_id().empty() ? backend.qom_path() : backend.device_id();
}

Result<Value> query(sim::Co&, BlockLayer& layer, const Value&) {
    Lister lister;
    for (const BlockBackend* backend : layer.backends()) {
        lister.parent(*backend, "block-backend", backend_name(*backend));
        if (backend->root() != nullptr) lister.edge(*backend->root());
    }
    for (const auto& job : layer.jobs().all()) {
        const BlockJob* block_job = job->as_block_job();
        if (block_job == nullptr) continue;
        lister.parent(*job, "block-job", job->id());
        for (const Edge* held : block_job->edges()) lister.edge(*held);
    }
    for (const Node* one : layer.nodes()) {
        lister.parent(*one, "block-driver", one->name());
        for (const Edge* child : one->children()) lister.edge(*child);
    }
    return lister.result();
}

const CommandRegistration registration({.name = "x-debug-query-block-graph",
                                        .returns = "XDbgBlockGraph",
                                        .run = query,
                                        .source = "QAPI block-core.json",
                                        .features = {"unstable"}});

}  // namespace
}  // namespace blocklayer
