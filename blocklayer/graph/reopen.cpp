// SPDX-License-Identifier: Apache-2.0
// Reopen: a queue of nodes with the flags and options they are to have. All are prepared, then the
// graph and its permissions are judged once, then all change or none.
//
// A child opened inline with its parent follows the options that the parent's new ones name; a
// child given by name is not touched.
// source  QAPI blockdev-reopen; texts and rules as observed.
#include "blocklayer/graph/reopen.hpp"

#include <algorithm>
#include <deque>

#include "blocklayer/graph/drain.hpp"
#include "blocklayer/graph/open.hpp"
#include "blocklayer/layer.hpp"
#include "blocklayer/options/member_order.hpp"
#include "blocklayer/requests/request.hpp"

namespace blocklayer {
namespace {

constexpr std::string_view flag_options[] = {"read-only", "auto-read-only", "discard",
                                             "detect-zeroes", "cache"};

bool is_flag_option(std::string_view name) {
    return std::find(std::begin(flag_options), std::end(flag_options), name) !=
           std::end(flag_options);
}

Unexpected<Error> cannot_change(std::string_view option) {
    return failure(fmt::format("Cannot change the option '{}'", option));
}

// "take-child-perms.0": lists and dictionaries become options with dots.
void add_flat(Value& out, const std::string& name, const Value& value) {
    if (value.is_dict() && !value.members().empty()) {
        for (const auto& [key, member] : value.members()) add_flat(out, name + "." + key, member);
    } else if (value.is_list() && !value.items().empty()) {
        std::size_t index = 0;
        for (const Value& item : value.items())
            add_flat(out, fmt::format("{}.{}", name, index++), item);
    } else {
        out.set(name, value);
    }
}

Value flattened(const std::string& name, const Value& value) {
    Value flat = Value::dict();
    add_flat(flat, name, value);
    return flat;
}

// A child's name was said before, now its options are: the name counts, and they are too much.
void join_reference(Value& all, const std::string& name, const Value& reference) {
    const Value options = all.at(name);
    all.set(name, reference);
    for (const auto& [key, value] : options.members()) all.set(name + "." + key, value);
}

// The members of both, of each name the newer one.
Value joined(const Value& newer, const Value& older) {
    Value all = newer;
    for (const auto& [name, value] : older.members()) {
        const Value* given = newer.find(name);
        if (given == nullptr)
            all.set(name, value);
        else if (given->is_dict() && value.is_dict())
            all.set(name, joined(*given, value));
        else if (given->is_dict())
            join_reference(all, name, value);
    }
    return all;
}

// By a child, or in the image alone.
bool names_backing(const Node& node) {
    return node.cow_child() != nullptr || (node.spec().supports_backing &&
                                           !node.driver().info().backing_filename.empty());
}

// The driver must know the option at all: what is given may be meant for another one.
bool can_change(const Node& node, std::string_view name) {
    const std::vector<MemberSpec>& known = node.spec().options;
    return std::any_of(known.begin(), known.end(),
                       [&](const MemberSpec& member) { return member.name == name; }) &&
           node.driver().can_change_option(name);
}

}  // namespace

struct Reopen::Queue {
    enum class Reset : bool { no, yes };  // yes: what is not mentioned goes back to its default
    struct Entry {
        NodeRef node;
        NodeFlags flags;
        Value options;  // as given now
        Reset reset;
        bool inherited;
        bool prepared = false;
    };

    void add(Node& node, const Value& options, Reset reset, const NodeFlags& defaults);
    void add_follower(const Entry& parent, Node& child, RoleSet role);
    void forget_followed(const Node& child);
    Status apply(sim::Co& co);

    explicit Queue(BlockLayer& in_layer) : layer(in_layer) {}

private:
    Entry* find(const Node& node);
    Status check_options(const Entry& entry) const;
    Status check_resets(const Entry& entry) const;
    Status check_child_option(const Node& node, const std::string& name, const Value& value) const;
    Status change_children(Transaction& tx, Entry& entry, std::vector<Node*>& touched);
    Status prepare_entry(sim::Co& co, Transaction& tx, Entry& entry, std::vector<Node*>& touched);
    Status prepare(sim::Co& co, Transaction& tx);
    void commit(sim::Co& co, Transaction& tx);

    BlockLayer& layer;
    std::deque<Entry> entries;  // addresses stay while it grows
};

Reopen::Queue::Entry* Reopen::Queue::find(const Node& node) {
    const auto found = std::find_if(entries.begin(), entries.end(),
                                    [&](const Entry& entry) { return entry.node.get() == &node; });
    return found == entries.end() ? nullptr : &*found;
}

void Reopen::Queue::add(Node& node, const Value& given_options, Reset reset,
                        const NodeFlags& defaults) {
    Entry* entry = find(node);
    // Of a node that comes twice, what the first time said and the second does not still holds.
    const bool again = entry != nullptr && !entry->inherited && entry->reset == Reset::yes;
    const Value options = again ? joined(given_options, entry->options) : given_options;
    if (entry == nullptr)
        entry = &entries.emplace_back(Entry{NodeRef(&node), {}, {}, reset, false});
    entry->flags = flags_of_options(options, defaults);
    entry->options = options;
    entry->reset = reset;
    entry->inherited = false;

    const auto follows = [&](const Edge* edge) {
        const Value* given = options.find(edge->name());
        return edge->child().inherits_from_ == node.id_ &&
               (given == nullptr || *given == Value(edge->child().name()));
    };
    if (again)
        for (const Edge* edge : node.children())
            if (follows(edge)) forget_followed(edge->child());
    for (const Edge* edge : node.children()) {
        Node& child = edge->child();
        const Value* given = options.find(edge->name());
        if (follows(edge))
            add_follower(*entry, child, edge->role());
        else if (child.inherits_from_ == node.id_ && given->is_dict())
            add(child, *given, Reset::yes, inherited_flags(entry->flags, edge->role()));
    }
}

// What a child took over from its parent as that came before. It keeps that if the parent is to
// leave it.
void Reopen::Queue::forget_followed(const Node& child) {
    Entry* entry = find(child);
    if (entry == nullptr || !entry->inherited) return;
    entry->flags = child.flags_;
    entry->options = Value::dict();
    for (const Edge* edge : child.children())
        if (edge->child().inherits_from_ == child.id_) forget_followed(edge->child());
}

// An inline child takes over what the parent's options name, unless it has an option of its own
// for that: given now, if it is in the list itself, or else when it was opened. What it took over
// as one child of its parent, as the newest, it keeps as another one of it.
void Reopen::Queue::add_follower(const Entry& parent, Node& child, RoleSet role) {
    Entry* entry = find(child);
    if (entry == nullptr)
        entry = &entries.emplace_back(
            Entry{NodeRef(&child), child.flags_, Value::dict(), Reset::no, true});
    const NodeFlags would_be = inherited_flags(parent.flags, role);
    const auto follows = [&](const char* option) {
        return parent.options.has(option) && !entry->options.has(option) &&
               (entry->reset == Reset::yes || !child.options_.has(option));
    };
    NodeFlags& flags = entry->flags;
    Value named = Value::dict();
    if (follows("read-only")) named.set("read-only", flags.read_only = would_be.read_only);
    if (follows("auto-read-only"))
        named.set("auto-read-only", flags.auto_read_only = would_be.auto_read_only);
    if (follows("force-share")) named.set("force-share", would_be.force_share);
    if (follows("cache")) {
        flags.direct = would_be.direct;
        flags.no_flush = would_be.no_flush;
        named.set("cache", Value::dict({{"direct", flags.direct}, {"no-flush", flags.no_flush}}));
    }
    entry->options = joined(entry->options, named);
    for (const Edge* edge : child.children())
        if (edge->child().inherits_from_ == child.id_)
            add_follower(*entry, edge->child(), edge->role());
}

Status Reopen::Queue::check_child_option(const Node& node, const std::string& name,
                                         const Value& value) const {
    const Edge* edge = node.child(name);
    if (value.is_dict()) {
        if (edge != nullptr && edge->child().inherits_from_ == node.id_) return {};
        return cannot_change(fmt::format(
            "{}.{}", name, value.members().empty() ? "driver" : value.members().front().first));
    }
    // These two may be changed: change_children() does it.
    if (name == "file" || name == "backing") return {};
    if (edge != nullptr && value.is_string() && value.as_string() == edge->child().name())
        return {};
    return cannot_change(name);
}

// What an entry says besides flags and children must be what it was, or something the driver can
// change; the first that is neither, in the wire's order.
Status Reopen::Queue::check_options(const Entry& entry) const {
    const Node& node = *entry.node;
    const bool keeps_others = entry.reset == Reset::no;
    Value options = keeps_others ? joined(entry.options, node.options()) : entry.options;
    if (keeps_others && node.flags().force_share_given)
        options.set("force-share", node.flags().force_share);
    for (const Value::Member* member : wire_order(options)) {
        const auto& [name, value] = *member;
        if (name == "driver" && value.as_string() != node.spec().name) return cannot_change(name);
        if (name == "cache" && value.members().empty()) return cannot_change(name);
        if (name == "node-name" || name == "driver" || is_flag_option(name)) continue;
        // Not even to what they are.
        if (name == "force-share" || name == "aio-max-batch") return cannot_change(name);
        if (name == "backing" || node.child(name) != nullptr) {
            // Where nothing is said of children they stay what they have become.
            if (!keeps_others) TRY(check_child_option(node, name, value));
            continue;
        }
        if (can_change(node, name)) continue;
        const Value* old = node.options().find(name);
        const Value before = old != nullptr ? flattened(name, *old) : Value::dict();
        const Value after = flattened(name, value);
        for (const auto& [part, wanted] : after.members())
            if (!before.has(part) || before.at(part) != wanted) return cannot_change(part);
    }
    return {};
}

// What an entry no longer says must be something that can go back to its default.
Status Reopen::Queue::check_resets(const Entry& entry) const {
    const Node& node = *entry.node;
    Value said = node.options();
    if (node.flags().force_share_given) said.set("force-share", node.flags().force_share);
    Value before = Value::dict(), after = Value::dict();  // parts by their full names
    // Parts of a list that share a bucket of the reference's come the other way round once the
    // options have been copied, as a reopen does.
    const auto add = [&](Value& all, const std::string& name, const Value& value) {
        Value::Dict parts = flattened(name, value).members();
        if (node.options_anew_) std::reverse(parts.begin(), parts.end());
        for (const auto& [part, what] : parts) all.set(part, what);
    };
    for (const auto& [name, value] : said.members()) {
        if (name == "node-name" || is_flag_option(name)) continue;
        if (name == "backing" || node.child(name) != nullptr) continue;
        if (can_change(node, name)) continue;
        add(before, name, value);
        if (const Value* given = entry.options.find(name)) add(after, name, *given);
    }
    for (const Value::Member* part : wire_order(before))
        if (!after.has(part->first))
            return failure(
                fmt::format("Option '{}' cannot be reset to its default value", part->first));
    return {};
}

Status Reopen::Queue::change_children(Transaction& tx, Entry& entry, std::vector<Node*>& touched) {
    Node& node = *entry.node;
    for (const char* name : {"backing", "file"}) {
        const Value* given = entry.options.find(name);
        if (given == nullptr || given->is_dict()) continue;
        Edge* edge = node.child(name);
        if (edge == nullptr && std::string_view(name) == "file") continue;
        Node* child = nullptr;
        if (given->is_string()) {
            child = layer.find_device_or_node(given->as_string());
            if (child == nullptr)
                return failure(
                    fmt::format("Cannot find device='' nor node-name='{}'", given->as_string()));
        }
        const RoleSet role = edge != nullptr ? edge->role() : RoleSet(Role::cow);
        Node* old = edge != nullptr ? &edge->child() : nullptr;
        // What a job has put in between without being asked does not count.
        if (old != nullptr && without_implicit(old) == child) continue;
        if (child != nullptr && layer.graph().reaches(*child, node))
            return failure(fmt::format("Making '{}' a {} child of '{}' would create a cycle",
                                       child->name(), name, node.name()));
        if (old != nullptr && old->implicit())
            return failure(
                fmt::format("Cannot replace implicit {} child of {}", name, node.name()));
        TRY(layer.graph().set_child(tx, node, name, role, child));
        if (old != nullptr && old != child) touched.push_back(old);
    }
    return {};
}

Status Reopen::Queue::prepare_entry(sim::Co& co, Transaction& tx, Entry& entry,
                                    std::vector<Node*>& touched) {
    Node& node = *entry.node;
    // Whether force-share fits is asked of a new node only: it cannot be changed.
    NodeFlags asked = entry.flags;
    asked.force_share = false;
    TRY(check_flags(asked));
    if (node.writable() && !RequestLayer::flush(co, node))
        return failure("Error flushing drive", Errno::io);
    if (!node.driver().supports_reopen())
        return failure(
            fmt::format("Block format '{}' used by node '{}' does not support reopening files",
                        node.spec().name, node.name()));
    if (entry.reset == Reset::yes) TRY(check_resets(entry));
    const Value options = entry.reset == Reset::yes ? entry.options : node.options();
    ReopenContext context(layer, node, options, entry.flags);
    TRY(node.driver().reopen_prepare(co, context));
    entry.prepared = true;
    if (entry.reset == Reset::yes && names_backing(node) && !entry.options.has("backing"))
        return failure(fmt::format("backing is missing for '{}'", node.name()));
    TRY(change_children(tx, entry, touched));
    return check_options(entry);
}

// Each entry in turn sees the graph as those before it leave it; permissions are judged at the end.
Status Reopen::Queue::prepare(sim::Co& co, Transaction& tx) {
    std::vector<Node*> touched;
    for (Entry& entry : entries) {
        TRY(prepare_entry(co, tx, entry, touched));
        touched.push_back(entry.node.get());
    }
    return layer.graph().refresh(tx, touched, [this](const Node& node) {
        const Entry* entry = find(node);
        if (entry == nullptr) return node.writable();
        return !entry->flags.read_only && !entry->flags.inactive;
    });
}

void Reopen::Queue::commit(sim::Co& co, Transaction& tx) {
    for (Entry& entry : entries) {
        Node& node = *entry.node;
        node.flags_ = entry.flags;
        if (entry.reset == Reset::yes) {
            // Children given inline stay known as they were opened.
            Value options = entry.options;
            if (!options.has("node-name") && node.options_.has("node-name"))
                options.set("node-name", node.options_.at("node-name"));
            node.options_ = std::move(options);
            node.options_anew_ = true;
        } else if (!entry.inherited) {
            for (const auto& [name, value] : entry.options.members())
                node.options_.set(name, value);
        }
        node.driver().reopen_commit(co);
    }
    tx.commit();
    for (Entry& entry : entries) {
        Node& node = *entry.node;
        layer.refresh_limits(node);
        const std::vector<Edge*> children = node.children();
        for (Edge* edge : children) node.child_resized(*edge);
    }
}

Status Reopen::Queue::apply(sim::Co& co) {
    DrainedSection drained(co, std::vector<Node*>{});
    for (const Entry& entry : entries) drained.add(co, *entry.node);
    Transaction tx;
    Status status = prepare(co, tx);
    if (status) {
        commit(co, tx);
        return status;
    }
    tx.abort();
    for (auto entry = entries.rbegin(); entry != entries.rend(); ++entry)
        if (entry->prepared) entry->node->driver().reopen_abort(co);
    return status;
}

Status Reopen::reopen(sim::Co& co, BlockLayer& layer, std::span<const Value> options) {
    Queue queue(layer);
    for (const Value& given : options) {
        if (!given.has("node-name")) return failure("node-name not specified");
        const std::string& name = given.at("node-name").as_string();
        Node* node = layer.find_node(name);
        if (node == nullptr)
            return failure(fmt::format("Failed to find node with node-name='{}'", name));
        NodeFlags defaults;
        defaults.no_io = node->flags().no_io;
        defaults.inactive = node->flags().inactive;
        defaults.discard_unmap = node->flags().discard_unmap;
        queue.add(*node, given, Queue::Reset::yes, defaults);
    }
    return queue.apply(co);
}

Status Reopen::set_read_only(sim::Co& co, Node& node, bool read_only) {
    Queue queue(node.layer());
    const Value options = Value::dict({{"read-only", read_only}});
    queue.add(node, options, Queue::Reset::no, node.flags());
    return queue.apply(co);
}

}  // namespace blocklayer
