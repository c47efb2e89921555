// SPDX-License-Identifier: Apache-2.0
// What a driver is given to open itself with, and to be reopened with.
#pragma once
#include <string>
#include <string_view>

#include "blocklayer/errors.hpp"
#include "blocklayer/graph/edge.hpp"
#include "blocklayer/graph/node.hpp"
#include "blocklayer/value.hpp"

namespace blocklayer {

class BlockLayer;

class OpenContext {
public:
    OpenContext(BlockLayer& layer, Node& node, const Value& options)
        : layer_(layer), node_(node), options_(options) {}

    BlockLayer& layer() const { return layer_; }
    Node& node() const { return node_; }
    // The driver's own options, validated: kinds are right, required ones are there.
    const Value& options() const { return options_; }
    bool writable() const { return node_.writable(); }

    // Opens the child given by option `name` (a node name or inline options) and attaches it.
    // An inline child inherits cache and read-only settings as its role says.
    // errors: what opening it says; A block device must be specified for "<name>".
    Result<Edge*> open_child(sim::Co& co, std::string_view name, RoleSet role);
    // The same when the option may be absent or null: nullptr then.
    Result<Edge*> open_optional_child(sim::Co& co, std::string_view name, RoleSet role);
    // The node that the option names or describes; none when it is absent or null.
    Result<NodeRef> child_node(sim::Co& co, std::string_view name, RoleSet role);
    // A backing file named only by the image itself: opened by filename (and format, may be "")
    // unless the options say otherwise ("backing": null or another node).
    Result<Edge*> open_backing(sim::Co& co, std::string_view image_filename,
                               std::string_view image_format);
    // What queries show as the node's filename.
    void set_filename(std::string filename) { node_.filename_ = std::move(filename); }
    // The driver cannot write here: the node becomes read-only if the user allowed that
    // (auto-read-only), else this is the error.
    Status fall_back_to_read_only(std::string error);

private:
    friend class BlockLayer;
    NodeRef file_;  // opened before this node, for its child "file"
    BlockLayer& layer_;
    Node& node_;
    const Value& options_;
};

// The flags an inline child starts from, given its parent's.
NodeFlags inherited_flags(const NodeFlags& parent, RoleSet role);
// What options say about the flags, on top of defaults.
NodeFlags flags_of_options(const Value& options, const NodeFlags& defaults);
Status check_flags(const NodeFlags& flags);

class ReopenContext {
public:
    ReopenContext(BlockLayer& layer, Node& node, const Value& options, NodeFlags flags)
        : layer_(layer), node_(node), options_(options), flags_(flags) {}
    BlockLayer& layer() const { return layer_; }
    Node& node() const { return node_; }
    const Value& options() const { return options_; }     // new, validated
    const NodeFlags& flags() const { return flags_; }     // as they will be
    bool writable() const { return !flags_.read_only && !flags_.inactive; }

private:
    BlockLayer& layer_;
    Node& node_;
    const Value& options_;
    NodeFlags flags_;
};

}  // namespace blocklayer
