// SPDX-License-Identifier: Apache-2.0
#include "blocklayer/graph/filename.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "blocklayer/graph/node.hpp"
#include "blocklayer/json_text.hpp"
#include "blocklayer/options/member_order.hpp"

namespace blocklayer {
namespace {

// "inject-error.0.event": lists and dictionaries become names with dots.
void add_flat(Value& out, const std::string& name, const Value& value) {
    if (value.is_dict()) {
        // Names that share a bucket show the last one set first; these show in the wire's order.
        const auto members = wire_order(value);
        for (auto member = members.rbegin(); member != members.rend(); ++member)
            add_flat(out, name + "." + (*member)->first, (*member)->second);
    } else if (value.is_list()) {
        std::size_t index = 0;
        for (const Value& item : value.items())
            add_flat(out, fmt::format("{}.{}", name, index++), item);
    } else {
        out.set(name, value);
    }
}

Value strong_options(const Node& node) {
    Value options = Value::dict();
    for (const std::string& name : node.spec().strong_options)
        if (const Value* value = node.options().find(name)) add_flat(options, name, *value);
    return options;
}

// The image's own reference would lead to another backing image than the one there is.
bool backing_overridden(const Node& node) {
    const Edge* backing = node.cow_child();
    const std::string named = full_backing_filename(node);
    if (backing == nullptr) return !named.empty();
    return shown_filename(backing->child()) != named;
}

Value full_options(const Node& node);

void add_child(Value& options, const Edge* child) {
    if (child != nullptr) options.set(child->name(), full_options(child->child()));
}

Value full_options(const Node& node) {
    if (const Edge* primary = node.primary_child(); node.implicit() && primary != nullptr)
        return full_options(primary->child());
    Value options = Value::dict({{"driver", Value(node.spec().name)}});
    if (node.spec().kind == DriverKind::protocol && node.children().empty())
        if (!node.filename().empty() && node.options().has("filename"))
            options.set("filename", node.filename());
    const Value strong = strong_options(node);
    for (const auto& [name, value] : strong.members()) options.set(name, value);
    std::vector<const Edge*> children(node.children().begin(), node.children().end());
    std::reverse(children.begin(), children.end());
    for (const Edge* child : children)
        if (child != node.cow_child()) add_child(options, child);
    if (node.spec().supports_backing && backing_overridden(node)) {
        options.set("backing", Value());
        add_child(options, node.cow_child());
    }
    return options;
}

// Empty: only options lead to the node.
std::string exact_filename(const Node& node) {
    const DriverSpec& spec = node.spec();
    if (spec.kind == DriverKind::protocol) return node.filename();
    const Edge* primary = node.primary_child();
    if (primary == nullptr) return {};
    if (node.implicit()) return exact_filename(primary->child());  // nobody is to see it
    if (spec.named_as_child) return shown_filename(primary->child());
    if (has_filename(spec))
        return node.driver().filename_over(
            [](const Edge& child) { return exact_filename(child.child()); });
    if (spec.kind == DriverKind::filter || !strong_options(node).members().empty()) return {};
    if (spec.supports_backing && backing_overridden(node)) return {};
    // What is opened by a filename alone finds a format again by probing.
    return has_filename(primary->child().spec()) ? exact_filename(primary->child())
                                                            : std::string();
}

}  // namespace

std::string full_backing_filename(const Node& node) {
    const std::string named = node.driver().info().backing_filename;
    const std::string& image = node.filename();
    const std::size_t slash = image.rfind('/'), colon = named.find(':');
    const bool has_protocol = colon != std::string::npos && named.find('/') > colon;
    if (named.empty() || named[0] == '/' || has_protocol || slash == std::string::npos)
        return named;
    return image.substr(0, slash + 1) + named;
}

std::string shown_filename(const Node& node) {
    if (const Edge* primary = node.primary_child(); node.implicit() && primary != nullptr)
        return shown_filename(primary->child());
    const std::string exact = exact_filename(node);
    return exact.empty() ? "json:" + to_json(full_options(node)) : exact;
}

}  // namespace blocklayer
