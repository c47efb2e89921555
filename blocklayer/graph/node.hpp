// SPDX-License-Identifier: Apache-2.0
// Node: one driver instance with its children, its users and its requests in flight.
//
// Nodes are shared: NodeRef holds one across suspension points. When the last reference goes, the
// node is queued and closed by the layer (closing may have to wait, and a destructor cannot).
//
// invariant  in_flight equals the number of requests begun and not ended
// units      bytes
#pragma once
#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "blocklayer/drivers/driver.hpp"
#include "blocklayer/errors.hpp"
#include "blocklayer/graph/edge.hpp"
#include "blocklayer/graph/graph_mod.hpp"
#include "blocklayer/requests/tracked.hpp"
#include "sim/check.hpp"
#include "sim/place.hpp"
#include "sim/sync.hpp"
#include "sim/trace.hpp"

namespace sim {
class Thread;
}

namespace blocklayer {

class BlockLayer;
class DirtyBitmap;
class Graph;

enum class DetectZeroes : std::uint8_t { off, on, unmap };

// The options every node has. source: QAPI BlockdevOptions base members.
struct NodeFlags {
    bool read_only = false;
    bool auto_read_only = false;
    bool force_share = false;
    bool force_share_given = false;  // by an option, this node's or inherited, be it "off"
    bool no_io = false;     // opened for looking at metadata only
    bool inactive = false;  // handed over to another process
    bool discard_unmap = false;
    bool no_flush = false;  // cache.no-flush
    bool direct = false;    // cache.direct
    DetectZeroes detect_zeroes = DetectZeroes::off;
};

// Nodes are as long as whole sectors: a file's last piece of one counts as one, and reads as zeroes
// past the file's end.
constexpr std::uint64_t whole_sectors(std::uint64_t bytes) { return (bytes + 511) / 512 * 512; }

class Node final : public EdgeParent {
public:
    ~Node() override;

    BlockLayer& layer() const { return layer_; }
    const std::string& name() const { return name_; }
    const DriverSpec& spec() const { return *spec_; }
    Driver& driver() const { return *driver_; }
    const NodeFlags& flags() const { return flags_; }
    bool read_only() const { return flags_.read_only; }
    bool writable() const { return !flags_.read_only && !flags_.inactive; }
    std::uint64_t length() const { return length_; }
    const Limits& limits() const { return limits_; }
    sim::Thread& thread() const { return *thread_; }
    sim::Subject subject() const { return subject_; }
    // Where requests are while they are in it. Anywhere, unless its driver keeps to itself.
    sim::Place place() const { return place_; }
    // The driver's requests touch nothing but the node, and others through its edges.
    void keeps_to_itself() { place_ = sim::Place::named("node", name_); }
    // And what is behind the node, which others may reach without it.
    void keeps_to(sim::Place place) { place_ = place; }
    // Options as given, with children as the reference keeps them; for reopen and queries.
    const Value& options() const { return options_; }
    const std::string& filename() const { return filename_; }

    const std::vector<Edge*>& parents() const { return parents_; }    // newest first
    const std::vector<Edge*>& children() const { return children_; }  // newest first
    Edge* child(std::string_view edge_name) const;                    // nullptr: none
    Edge* file() const { return child("file"); }
    Edge* backing() const { return child("backing"); }
    Edge* cow_child() const;       // the backing image, not a filter's "backing"
    Edge* filtered_child() const;  // a filter's data
    Edge* primary_child() const;
    bool is_filter() const { return spec_->kind == DriverKind::filter; }
    bool implicit() const { return implicit_; }
    Claim cumulative() const;  // union of used, intersection of shared, over all parents

    // EdgeParent
    std::string describe() const override { return "node '" + name_ + "'"; }
    std::string describe_2_9() const override;
    void drained_begin(Edge& edge) override;
    void drained_end(Edge& edge) override;
    bool busy(const Edge& edge) const override;
    void child_resized(Edge& edge) override;
    void child_replaced(Edge& edge) override { child_resized(edge); }

    bool drained() const { return drains_ > 0; }
    std::uint64_t in_flight() const { return in_flight_; }

    // Oldest first: the newest reason is the one commands report.
    std::vector<OpBlocker>& op_blockers() { return op_blockers_; }
    const std::vector<OpBlocker>& op_blockers() const { return op_blockers_; }
    std::vector<std::shared_ptr<DirtyBitmap>>& dirty_bitmaps() { return dirty_bitmaps_; }
    TrackedRequests& tracked() { return tracked_; }
    // write generation: flush has nothing to do when nothing was written since the last one.
    std::uint64_t write_generation = 0;
    std::uint64_t flushed_generation = 0;
    std::uint64_t highest_write_end = 0;  // wr_highest_offset of query-blockstats

private:
    friend class BlockLayer;
    friend class Graph;
    friend class NodeRef;
    friend class OpenContext;
    friend class RequestLayer;
    friend class Drain;
    friend class Reopen;
    friend class Edge;
    friend class RequestScope;
    // A child that was opened with this node and is its child no longer goes its own way.
    void disinherit(Node& child) const;
    void begin_request() { ++in_flight_; }
    void end_request() {
        INVARIANT(in_flight_ > 0);
        if (--in_flight_ == 0) became_idle();
    }
    void became_idle();
    Node(BlockLayer& layer, std::string name, const DriverSpec& spec);

    BlockLayer& layer_;
    std::string name_;
    const DriverSpec* spec_;
    std::unique_ptr<Driver> driver_;
    NodeFlags flags_;
    Limits limits_;
    std::uint64_t length_ = 0;
    sim::Thread* thread_;
    sim::Subject subject_;
    sim::Place place_;
    Value options_;
    bool options_anew_ = false;  // they are those of a reopen
    std::string filename_;
    std::vector<Edge*> parents_;
    std::vector<Edge*> children_;
    std::vector<OpBlocker> op_blockers_;
    std::vector<std::shared_ptr<DirtyBitmap>> dirty_bitmaps_;
    TrackedRequests tracked_;
    sim::WaitQueue flushed_{"flush before this one"};
    std::uint64_t in_flight_ = 0;
    std::uint64_t references_ = 0;  // edges and NodeRefs
    std::uint64_t id_ = 0;          // in order of creation, from 1
    std::uint64_t inherits_from_ = 0;  // id of the node this one was opened inline with
    std::uint64_t rank_ = 0;        // above every child's: the order of permission updates
    Claim cumulative_;              // what the children's claims were computed from
    mutable std::uint64_t mark_ = 0;  // the latest walk that saw this node
    int drains_ = 0;                // own sections and drained children
    int own_drains_ = 0;            // sections begun on this very node
    bool update_pending_ = false, update_forced_ = false;
    bool claim_prepared_ = false;   // the driver waits for commit_claim or abort_claim
    bool stale_ = false;            // children keep stricter claims than they need
    bool flushing_ = false;
    bool implicit_ = false;       // made by a job without a name from the user
    bool monitor_owned_ = false;  // blockdev-add holds a reference
    bool never_freeze_ = false;
    bool opened_ = false;
};

// Below the filters, from this node on, that jobs put in without being asked for by name.
Node* without_implicit(Node* node);

// Keeps a node alive.
class NodeRef {
public:
    NodeRef() = default;
    explicit NodeRef(Node* node) : node_(node) {
        if (node_ != nullptr) ++node_->references_;
    }
    NodeRef(const NodeRef& other) : NodeRef(other.node_) {}
    NodeRef(NodeRef&& other) noexcept : node_(std::exchange(other.node_, nullptr)) {}
    NodeRef& operator=(NodeRef other) noexcept {
        std::swap(node_, other.node_);
        return *this;
    }
    ~NodeRef() {
        if (node_ != nullptr && --node_->references_ == 0) release();
    }
    Node* get() const { return node_; }
    Node* operator->() const { return node_; }
    Node& operator*() const { return *node_; }
    explicit operator bool() const { return node_ != nullptr; }

private:
    void release();

    Node* node_ = nullptr;
};

}  // namespace blocklayer
