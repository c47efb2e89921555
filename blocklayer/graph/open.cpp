// SPDX-License-Identifier: Apache-2.0
// Opening nodes: names, flags and their inheritance, children by name or inline.
//
// source  option names and defaults: QAPI BlockdevOptions; order and texts as observed.
#include "blocklayer/graph/open.hpp"

#include <algorithm>
#include <cctype>
#include <optional>

#include "blocklayer/graph/drain.hpp"
#include "blocklayer/layer.hpp"
#include "blocklayer/options/member_order.hpp"
#include "blocklayer/options/schema.hpp"

namespace blocklayer {
namespace {

constexpr std::size_t node_name_max = 31;

bool well_formed(std::string_view name) {
    const auto is_letter = [](unsigned char c) { return std::isalpha(c) != 0; };
    const auto is_inner = [&](unsigned char c) {
        return std::isalnum(c) != 0 || c == '-' || c == '.' || c == '_';
    };
    return !name.empty() && is_letter(static_cast<unsigned char>(name.front())) &&
           std::all_of(name.begin() + 1, name.end(), is_inner);
}

bool has_protocol(std::string_view filename) {
    const std::size_t colon = filename.find(':');
    return colon != std::string_view::npos && filename.find('/') > colon;
}

// The backing file's name as seen from the directory of the image that names it.
std::string beside(std::string_view image, std::string_view filename) {
    const std::size_t slash = image.rfind('/');
    if (has_protocol(filename) || filename.starts_with('/') || slash == std::string_view::npos)
        return std::string(filename);
    return std::string(image.substr(0, slash + 1)).append(filename);
}

Result<NodeRef> named_node(BlockLayer& layer, const std::string& reference) {
    NodeRef node(layer.find_device_or_node(reference));
    if (node) return node;
    if (layer.find_backend(reference) != nullptr)
        return failure(fmt::format("Device '{}' has no medium", reference));
    return failure(fmt::format("Cannot find device='{0}' nor node-name='{0}'", reference));
}

// An empty dictionary or list is no option: there is nothing in it, and nobody takes it.
Status check_nothing_is_left(const DriverSpec& spec, const Value& options) {
    const auto taken_whole = [&](const std::string& name) {
        for (const MemberSpec& member : spec.options)
            if (member.name == name)
                if (const TypeSpec* type = find_type(member.type))
                    return type->meta == TypeSpec::Meta::alternate;
        return false;
    };
    for (const Value::Member* member : wire_order(options)) {
        const auto& [name, value] = *member;
        const bool empty = (value.is_dict() && value.members().empty()) ||
                           (value.is_list() && value.items().empty());
        if (!empty || taken_whole(name)) continue;
        if (spec.kind == DriverKind::protocol || spec.called_protocol)
            return failure(fmt::format("Block protocol '{}' doesn't support the option '{}'",
                                       spec.name, name));
        return failure(fmt::format("Block format '{}' does not support the option '{}'", spec.name,
                                   name));
    }
    return {};
}

}  // namespace

NodeFlags inherited_flags(const NodeFlags& parent, RoleSet role) {
    NodeFlags flags = parent;
    flags.detect_zeroes = DetectZeroes::off;
    if (role.has(Role::cow)) {
        flags.read_only = true;
        flags.auto_read_only = false;
        flags.discard_unmap = false;
    } else {
        flags.discard_unmap = true;  // drivers pass on only what their own option allows
    }
    if (role.has(Role::metadata)) flags.no_io = false;
    return flags;
}

NodeFlags flags_of_options(const Value& options, const NodeFlags& defaults) {
    NodeFlags flags = defaults;
    flags.read_only = options.get_bool("read-only", defaults.read_only);
    flags.auto_read_only = options.get_bool("auto-read-only", defaults.auto_read_only);
    flags.force_share = options.get_bool("force-share", defaults.force_share);
    flags.force_share_given = defaults.force_share_given || options.has("force-share");
    if (const Value* cache = options.find("cache")) {
        flags.direct = cache->get_bool("direct", defaults.direct);
        flags.no_flush = cache->get_bool("no-flush", defaults.no_flush);
    }
    if (const Value* discard = options.find("discard"))
        flags.discard_unmap = discard->as_string() == "unmap";
    if (const Value* zeroes = options.find("detect-zeroes"))
        flags.detect_zeroes = zeroes->as_string() == "on"      ? DetectZeroes::on
                              : zeroes->as_string() == "unmap" ? DetectZeroes::unmap
                                                               : DetectZeroes::off;
    return flags;
}

Status check_flags(const NodeFlags& flags) {
    if (flags.force_share && !flags.read_only)
        return failure("force-share=on can only be used with read-only images");
    if (flags.detect_zeroes == DetectZeroes::unmap && !flags.discard_unmap)
        return failure(
            "setting detect-zeroes to unmap is not allowed without setting discard operation to "
            "unmap");
    return {};
}

Result<Edge*> OpenContext::open_child(sim::Co& co, std::string_view name, RoleSet role) {
    Edge* edge = TRY(open_optional_child(co, name, role));
    if (edge == nullptr)
        return failure(fmt::format("A block device must be specified for \"{}\"", name));
    return edge;
}

Result<Edge*> OpenContext::open_optional_child(sim::Co& co, std::string_view name, RoleSet role) {
    const NodeRef child = TRY(child_node(co, name, role));
    if (!child) return nullptr;
    return layer_.graph().attach_child(node_, *child, std::string(name), role);
}

Result<NodeRef> OpenContext::child_node(sim::Co& co, std::string_view name, RoleSet role) {
    const Value* given = options_.find(name);
    if (name == "file" && file_) {
        NodeRef child = std::exchange(file_, NodeRef());
        child->inherits_from_ = node_.id_;
        return child;
    }
    if (given == nullptr || given->is_null()) return NodeRef();
    if (given->is_string()) return named_node(layer_, given->as_string());
    NodeRef child = TRY(layer_.open_node(co, *given, inherited_flags(node_.flags(), role),
                                         NodeRef()));
    child->inherits_from_ = node_.id_;
    return child;
}

Result<Edge*> OpenContext::open_backing(sim::Co& co, std::string_view image_filename,
                                        std::string_view image_format) {
    const auto attach = [&](const Result<NodeRef>& backing) -> Result<Edge*> {
        if (!backing)
            return failure("Could not open backing file: " + backing.error().text,
                           backing.error().code);
        if (!*backing) return nullptr;
        return layer_.graph().attach_child(node_, **backing, "backing", Role::cow);
    };
    if (options_.has("backing")) return attach(child_node(co, "backing", Role::cow));
    if (image_filename.empty()) return nullptr;
    Value options = Value::dict();
    if (!image_format.empty()) options.set("driver", image_format);
    const Result<NodeRef> backing =
        layer_.open_file(co, beside(node_.filename(), image_filename), std::move(options),
                         inherited_flags(node_.flags(), Role::cow));
    if (backing) (*backing)->inherits_from_ = node_.id_;
    return attach(backing);
}

Status OpenContext::fall_back_to_read_only(std::string error) {
    if (node_.flags_.read_only) return {};
    if (!node_.flags_.auto_read_only) return failure(std::move(error), Errno::access);
    node_.flags_.read_only = true;
    return {};
}

Status BlockLayer::check_node_name(std::string_view name) const {
    if (!well_formed(name)) return failure(fmt::format("Invalid node-name: '{}'", name));
    if (find_backend(name) != nullptr)
        return failure(fmt::format("node-name={} is conflicting with a device id", name));
    if (nodes_by_name_.contains(name))
        return failure(fmt::format("Duplicate nodes with node-name='{}'", name));
    if (name.size() > node_name_max) return failure("Node name too long");
    return {};
}

Result<NodeRef> BlockLayer::open(sim::Co& co, const Value& options, NodeFlags inherited) {
    TRY(check_value(options, "BlockdevOptions"));
    return open_node(co, options, inherited, NodeRef());
}

Result<NodeRef> BlockLayer::open_node(sim::Co& co, const Value& options, const NodeFlags& defaults,
                                      NodeRef file) {
    if (co.stack_left() < 64 * 1024)
        return failure("Too many levels of block devices", Errno::no_memory);
    const DriverSpec* spec = find_driver(options.at("driver").as_string());
    EXPECTS(spec != nullptr);

    // The file below is opened and looked at first: its errors come before those about this node.
    const NodeFlags flags = flags_of_options(options, defaults);
    const Value* given_file = options.find("file");
    std::optional<DrainedSection> drained;
    if (!file && spec->kind != DriverKind::protocol && given_file != nullptr) {
        const RoleSet role = spec->kind == DriverKind::filter ? role_filtered : role_image;
        if (given_file->is_dict())
            file = TRY(open_node(co, *given_file, inherited_flags(flags, role), NodeRef()));
        const NodeRef seen = file || !given_file->is_string()
                                 ? file
                                 : TRY(named_node(*this, given_file->as_string()));
        if (seen) TRY(graph_.visit(*seen));
        // Opening reads from a file that somebody keeps drained all the same: in a section of its
        // own, as whoever else drains once more.
        if (seen && seen->drained()) drained.emplace(co, *seen);
    }

    const std::string given_name = options.get_string("node-name");
    TRY(check_flags(flags));
    if (options.has("node-name")) TRY(check_node_name(given_name));

    Node& node = add_node(options.has("node-name") ? given_name : generate_node_name(), *spec);
    NodeRef opened(&node);
    node.flags_ = flags;
    node.options_ = options;
    node.driver_ = spec->make();
    node.driver_->node_ = &node;
    OpenContext context(*this, node, node.options_);
    context.file_ = std::move(file);

    bool driver_opened = false;
    const auto open_driver = [&](sim::Co& inner) -> Status {
        TRY(node.driver_->open(inner, context));
        driver_opened = true;
        if (const Edge* primary = node.primary_child();
            node.filename_.empty() && primary != nullptr)
            node.filename_ = primary->child().filename();
        refresh_limits(node);
        const IoResult<std::uint64_t> length = node.driver_->length(inner);
        if (!length)
            return failure(fmt::format("Could not refresh total sector count: {}",
                                       sim::errno_text(length.error())),
                           length.error());
        node.length_ = whole_sectors(*length);
        TRY(graph_.refresh(node));
        return check_nothing_is_left(*spec, options);
    };
    Status status = open_driver(co);
    if (!status) {
        if (driver_opened) node.driver_->close(co);
        const std::vector<Edge*> children = node.children_;
        for (Edge* edge : children) graph_.detach(*edge);
        return Unexpected(std::move(status).error());
    }
    node.opened_ = true;
    return opened;
}

Result<NodeRef> BlockLayer::make_node(std::string_view name, const DriverSpec& spec,
                                      std::unique_ptr<Driver> driver, NodeFlags flags,
                                      bool implicit, std::uint64_t length) {
    if (!name.empty()) TRY(check_node_name(name));
    Node& node = add_node(name.empty() ? generate_node_name() : std::string(name), spec);
    node.flags_ = flags;
    node.implicit_ = implicit;
    node.driver_ = std::move(driver);
    node.driver_->node_ = &node;
    node.length_ = length;
    node.opened_ = true;
    refresh_limits(node);
    return NodeRef(&node);
}

// "#block", a running number and two digits that nobody should rely on.
std::string BlockLayer::generate_node_name() {
    const std::uint64_t tail = world_.rng("node names").below(100);
    return fmt::format("#block{}{:02}", next_generated_name_++, tail);
}

Status BlockLayer::add_monitor_node(sim::Co& co, const Value& options) {
    TRY(check_value(options, "BlockdevOptions"));
    if (!options.has("node-name"))
        return failure("'node-name' must be specified for the root node");
    NodeRef node = TRY(open_node(co, options, {}, NodeRef()));
    node->monitor_owned_ = true;
    monitor_nodes_.push_back(std::move(node));
    return {};
}

Status BlockLayer::remove_monitor_node(sim::Co&, std::string_view name) {
    Node* node = find_node(name);
    if (node == nullptr)
        return failure(fmt::format("Failed to find node with node-name='{}'", name));
    for (const Edge* user : node->parents())
        if (user->parent().as_backend() != nullptr)
            return failure(fmt::format("Node {} is in use", name));
    TRY(check_blocked(*node, op_drive_del));
    if (!node->monitor_owned_)
        return failure(fmt::format("Node {} is not owned by the monitor", name));
    if (node->references_ > 1) return failure(fmt::format("Block device {} is in use", name));
    node->monitor_owned_ = false;
    std::erase_if(monitor_nodes_, [&](const NodeRef& owned) { return owned.get() == node; });
    return {};
}

}  // namespace blocklayer
