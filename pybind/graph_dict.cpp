// SPDX-License-Identifier: Apache-2.0
// The graph as Python dictionaries: what drawings and tests of graphs look at.
#include "blocklayer/graph/edge.hpp"
#include "blocklayer/graph/node.hpp"
#include "pybind/value_cast.hpp"
#include "pybind/vm_handle.hpp"

namespace bindings {
namespace {

using blocklayer::Edge;
using blocklayer::Node;
using blocklayer::Role;

constexpr std::pair<Role, const char*> roles[] = {{Role::data, "data"},
                                                  {Role::metadata, "metadata"},
                                                  {Role::filtered, "filtered"},
                                                  {Role::cow, "cow"},
                                                  {Role::primary, "primary"}};

const char* kind_name(blocklayer::DriverKind kind) {
    switch (kind) {
    case blocklayer::DriverKind::format: return "format";
    case blocklayer::DriverKind::filter: return "filter";
    case blocklayer::DriverKind::protocol: return "protocol";
    }
    return "";
}

py::dict node_to_python(const Node& node) {
    py::dict dict;
    dict["name"] = node.name();
    dict["driver"] = node.spec().name;
    dict["kind"] = kind_name(node.spec().kind);
    dict["filename"] = node.filename();
    dict["length"] = node.length();
    dict["read_only"] = node.read_only();
    dict["implicit"] = node.implicit();
    dict["drained"] = node.drained();
    dict["in_flight"] = node.in_flight();
    return dict;
}

py::dict edge_to_python(Edge& edge) {
    py::list role;
    for (const auto& [bit, name] : roles)
        if (edge.role().has(bit)) role.append(name);
    blocklayer::EdgeParent& parent = edge.parent();
    py::dict dict;
    dict["parent"] = parent.describe();
    dict["parent_node"] =
        parent.as_node() != nullptr ? py::object(py::str(parent.as_node()->name())) : py::none();
    dict["child"] = edge.child().name();
    dict["name"] = edge.name();
    dict["role"] = py::tuple(role);
    dict["used"] = permission_names(edge.claim().used);
    dict["shared"] = permission_names(edge.claim().shared);
    dict["frozen"] = edge.frozen();
    return dict;
}

}  // namespace

py::dict graph_to_python(blocklayer::BlockLayer& layer) {
    py::list nodes, edges;
    for (const Node* node : layer.nodes()) {
        nodes.append(node_to_python(*node));
        for (Edge* edge : node->parents()) edges.append(edge_to_python(*edge));
    }
    py::dict graph;
    graph["nodes"] = nodes;
    graph["edges"] = edges;
    return graph;
}

}  // namespace bindings
