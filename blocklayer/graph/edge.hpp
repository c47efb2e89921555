// SPDX-License-Identifier: Apache-2.0
// Edge: one user of one node, with what it needs and what it lets others do.
//
// All permission state of the graph lives here, and all I/O goes through here: a request that the
// edge's granted permissions do not cover is a bug of the parent and stops the run, naming the
// request, the edge and the holder.
//
// invariant  an edge is in its child's parent list, and in its parent node's child list if the
//            parent is a node; both lists are newest first
#pragma once
#include <cstdint>
#include <string>

#include "blocklayer/errors.hpp"
#include "blocklayer/permissions/permissions.hpp"
#include "blocklayer/requests/flags.hpp"
#include "sim/co.hpp"
#include "sim/io_view.hpp"

namespace blocklayer {

class BlockBackend;
class Edge;
class Job;
class Node;
enum class DebugEvent : std::uint8_t;

// Anything that can hold an edge: a node, a backend, a job.
class EdgeParent {
public:
    explicit EdgeParent(Node* node = nullptr) : node_(node) {}
    virtual ~EdgeParent() = default;
    // As messages name it: "node 'q0'", "block device 'D1'", "mirror job 'm0'".
    virtual std::string describe() const = 0;
    // Bare name, as messages of 2.9 have it: "q0", "D1", "a block device".
    virtual std::string describe_2_9() const = 0;
    Node* as_node() const { return node_; }
    virtual BlockBackend* as_backend() { return nullptr; }
    virtual Job* as_job() { return nullptr; }

    // The child begins or ends a drained section: between the two the parent sends nothing new.
    virtual void drained_begin(Edge& edge) = 0;
    virtual void drained_end(Edge& edge) = 0;
    // True while the parent may still send requests that it had begun before.
    virtual bool busy(const Edge& edge) const = 0;
    // The child's length changed.
    virtual void child_resized(Edge&) {}
    // The edge was moved to another node, in the commit phase of a transaction.
    virtual void child_replaced(Edge&) {}

private:
    Node* node_;  // which is this; nullptr: another kind of parent
};

enum class EdgeClass : std::uint8_t { root, job, node };

// What a child is to its parent node. source: QAPI-visible behaviour since 5.1.
enum class Role : std::uint8_t {
    none = 0,
    data = 1 << 0,
    metadata = 1 << 1,
    filtered = 1 << 2,  // shows exactly the parent's data
    cow = 1 << 3,       // backing image
    primary = 1 << 4,   // its filename stands for the parent
};

class RoleSet {
public:
    constexpr RoleSet() = default;
    constexpr RoleSet(Role role) : bits_(static_cast<std::uint8_t>(role)) {}
    constexpr bool has(Role role) const { return (bits_ & static_cast<std::uint8_t>(role)) != 0; }
    constexpr RoleSet operator|(RoleSet other) const {
        RoleSet set;
        set.bits_ = static_cast<std::uint8_t>(bits_ | other.bits_);
        return set;
    }
    constexpr bool operator==(const RoleSet&) const = default;

private:
    std::uint8_t bits_ = 0;
};

constexpr RoleSet operator|(Role a, Role b) { return RoleSet(a) | RoleSet(b); }
constexpr RoleSet role_image = Role::data | Role::metadata | RoleSet(Role::primary);
constexpr RoleSet role_filtered = Role::filtered | Role::primary;

struct BlockStatus {
    std::uint64_t length = 0;  // bytes this answer covers, > 0
    bool data = false;         // reads what this node or one below stores
    bool zero = false;         // reads as zeroes
    bool allocated = false;    // this node decides the contents (not its backing file)
    bool compressed = false;
    // The child `file` knows more: with data, whether it is zeroes there; without, everything.
    bool recurse = false;
    bool eof = false;
    Node* file = nullptr;      // where the data lies ...
    std::uint64_t offset = 0;  // ... and at which offset; valid when file != nullptr
};

class Edge {
public:
    Edge(EdgeParent& parent, Node& child, std::string name, EdgeClass edge_class, RoleSet role,
         Claim claim)
        : parent_(parent),
          child_(&child),
          name_(std::move(name)),
          class_(edge_class),
          role_(role),
          claim_(claim) {}
    Edge(const Edge&) = delete;
    Edge& operator=(const Edge&) = delete;

    EdgeParent& parent() const { return parent_; }
    Node& child() const { return *child_; }
    const std::string& name() const { return name_; }
    EdgeClass edge_class() const { return class_; }
    RoleSet role() const { return role_; }
    const Claim& claim() const { return claim_; }
    bool frozen() const { return frozen_; }
    const std::string& frozen_by() const { return frozen_by_; }  // as messages name it
    // Job edges stay when their node is replaced.
    bool stays_at_node() const { return class_ == EdgeClass::job; }
    Party party() const { return {parent_.describe(), name_}; }
    // For reads a driver makes on its own account (copying what a write leaves of a cluster): as
    // good as the edge was granted.
    RequestFlags as_granted() const {
        return claim_.used.contains(Perm::consistent_read)
                   ? RequestFlags()
                   : RequestFlags(RequestFlag::inconsistent_ok);
    }

    // Requests. units: bytes. Any alignment: the node's request layer takes care of it.
    // A read past the end gives zeroes; a write past it needs resize and may lengthen the node.
    // errors: what the driver reports; io when out of range; no_medium is the backend's; no_memory
    // when the graph is too deep for the fiber's stack.
    IoStatus read(sim::Co& co, std::uint64_t offset, sim::IoView into, RequestFlags flags = {});
    IoStatus write(sim::Co& co, std::uint64_t offset, sim::IoView from, RequestFlags flags = {});
    IoStatus write_zeroes(sim::Co& co, std::uint64_t offset, std::uint64_t length,
                          RequestFlags flags = {});
    IoStatus discard(sim::Co& co, std::uint64_t offset, std::uint64_t length);
    IoStatus flush(sim::Co& co);
    IoResult<BlockStatus> block_status(sim::Co& co, std::uint64_t offset, std::uint64_t length);
    Status truncate(sim::Co& co, std::uint64_t size, bool exact, std::string_view preallocation,
                    RequestFlags flags = {});
    // The node's own contents go; what lies below shows again.
    IoStatus make_empty(sim::Co& co);
    // Tells the child what is to be done on it next; may wait.
    void fire(sim::Co& co, DebugEvent event);

private:
    friend class Graph;
    friend class Drain;
    // Fails the run: the parent sent a request that its permissions do not cover.
    [[noreturn]] void fail_permission(const char* request, std::uint64_t offset,
                                      std::uint64_t length, const char* needs) const;
    bool child_fell_short(std::uint64_t offset, std::uint64_t length) const;
    void require_write(const char* request, std::uint64_t offset, std::uint64_t length,
                       RequestFlags flags) const {
        if (!claim_.used.contains(Perm::write) &&
            !(flags.has(RequestFlag::write_unchanged) &&
              claim_.used.contains(Perm::write_unchanged))) [[unlikely]]
            fail_permission(request, offset, length,
                            flags.has(RequestFlag::write_unchanged) ? "write unchanged" : "write");
    }
    void require_resize(const char* request, std::uint64_t offset, std::uint64_t length) const {
        if (!claim_.used.contains(Perm::resize)) [[unlikely]]
            fail_permission(request, offset, length, "resize");
    }

    EdgeParent& parent_;
    Node* child_;
    std::string name_;
    EdgeClass class_;
    RoleSet role_;
    Claim claim_;
    std::size_t index_ = 0;  // in the graph's table
    bool frozen_ = false;
    std::string frozen_by_;
    bool drained_ = false;  // the parent has had a drained_begin through this edge
};

}  // namespace blocklayer
