// SPDX-License-Identifier: Apache-2.0
// BlockLayer: one virtual machine's block layer. Owns its nodes, named backends, jobs and events.
//
// Several may live in one world (two machines on one image); they share nothing but the HostStore.
#pragma once
#include <any>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "blocklayer/errors.hpp"
#include "blocklayer/graph/backend.hpp"
#include "blocklayer/graph/drain.hpp"
#include "blocklayer/graph/graph.hpp"
#include "blocklayer/graph/node.hpp"
#include "blocklayer/value.hpp"
#include "sim/host_store.hpp"
#include "sim/sync.hpp"
#include "sim/world.hpp"

namespace blocklayer {

class JobList;

// Which release's wording permission conflicts have.
enum class Compat : std::uint8_t { v2_9, v7_2 };

// Scarce resources: small ones make rare orders common.
struct LayerLimits {
    std::uint64_t qcow2_l2_cache_bytes = 0;        // 0: the format's own default
    std::uint64_t qcow2_refcount_cache_bytes = 0;  // 0: the format's own default
    std::uint32_t job_slots = 16;                  // requests a copying job has in flight
    std::uint64_t job_chunk_bytes = 1024 * 1024;
    bool memory_may_fail = false;  // allocations of requests are fault sites
};

struct LayerOptions {
    Compat compat = Compat::v7_2;
    LayerLimits limits;
    bool check_drains = true;  // no request begins in a drained section: off to measure the cost
};

struct QmpEvent {
    sim::Label name;  // "BLOCK_JOB_READY"
    Value data;       // null: none
    sim::Instant at;
};

class BlockLayer {
public:
    BlockLayer(sim::World& world, sim::HostStore& store, LayerOptions options = {});
    BlockLayer(const BlockLayer&) = delete;
    BlockLayer& operator=(const BlockLayer&) = delete;
    ~BlockLayer();  // drops everything as it is; shut_down() closes properly

    sim::World& world() const { return world_; }
    sim::HostStore& store() const { return store_; }
    Graph& graph() { return graph_; }
    Compat compat() const { return options_.compat; }
    const LayerLimits& limits() const { return options_.limits; }
    JobList& jobs() { return *jobs_; }

    // ---- nodes -------------------------------------------------------------------------------
    Node* find_node(std::string_view name) const;           // nullptr: none
    std::vector<Node*> nodes() const;                       // in order of creation
    // By backend name first, then by node name, as most commands look devices up.
    Node* find_device_or_node(std::string_view name) const;
    // Opens a node from blockdev-add options (validated here). The caller's reference keeps it.
    // errors: schema errors; what the drivers say; nothing remains of a failed open.
    Result<NodeRef> open(sim::Co& co, const Value& options, NodeFlags inherited = {});
    // A node by filename, format probed unless given in options: for tools and backing files.
    Result<NodeRef> open_file(sim::Co& co, std::string_view filename, Value options,
                              NodeFlags inherited = {});
    // A node that a job or the layer makes itself: no options, a driver instance given.
    // An empty name is generated, as for inline children.
    Result<NodeRef> make_node(std::string_view name, const DriverSpec& spec,
                              std::unique_ptr<Driver> driver, NodeFlags flags, bool implicit,
                              std::uint64_t length = 0);
    // blockdev-add / blockdev-del: the monitor's own reference.
    Status add_monitor_node(sim::Co& co, const Value& options);
    Status remove_monitor_node(sim::Co& co, std::string_view name);
    // Re-reads length and limits after the driver changed them; tells the parents.
    IoStatus refresh_length(sim::Co& co, Node& node);
    void refresh_limits(Node& node);
    std::string generate_node_name();

    // Closes nodes nobody refers to, and waits for those that somebody else is closing. Commands
    // call it before they reply; without it a deferred event does it.
    void reap(sim::Co& co);
    // Cancels jobs, detaches backends, closes all nodes.
    void shut_down(sim::Co& co);

    // ---- backends ----------------------------------------------------------------------------
    const std::vector<BlockBackend*>& backends() const { return backends_; }  // oldest first
    BlockBackend* find_backend(std::string_view name) const;       // by monitor name
    BlockBackend* find_device_backend(std::string_view id) const;  // by device id or QOM path

    // ---- op blockers: graph-mod as commands ask for it (see graph_mod.hpp) -------------------
    // nullptr: allowed; otherwise the first (newest) reason.
    const std::string* blocked(const Node& node, std::uint32_t operation) const;
    // "Node 'x' is busy: <reason>"
    Status check_blocked(const Node& node, std::uint32_t operation) const {
        return check_graph_mod(node, operation);
    }

    // ---- events ------------------------------------------------------------------------------
    void emit_event(sim::Label name, Value data = {});
    // An event is made once, however many keep it.
    using EventSink = std::function<void(const std::shared_ptr<const QmpEvent>&)>;
    void add_event_sink(EventSink sink) { sinks_.push_back(std::move(sink)); }

    // The machine above asked to be stopped by a backend (werror=stop); set by the machine.
    std::function<void()> stop_machine;
    // Under this lock one command or completion of a job runs at a time.
    const std::shared_ptr<sim::Mutex>& control_lock() const { return control_lock_; }
    // Rooms above keep their one object here (the machine, the monitor): blocklayer knows no type.
    std::map<std::string, std::any> extensions;

private:
    friend class BlockBackend;
    friend class NodeRef;
    friend class OpenContext;
    friend class Reopen;
    friend class Drain;
    friend class Node;
    // A node by its validated options; `file`, when given, is its child of that name.
    Result<NodeRef> open_node(sim::Co& co, const Value& options, const NodeFlags& defaults,
                              NodeRef file);
    Status check_node_name(std::string_view name) const;
    Node& add_node(std::string name, const DriverSpec& spec);
    void forget_node(Node& node, std::unique_ptr<Node>* taken);
    void release(Node& node);  // the last reference went
    void close_node(sim::Co& co, std::unique_ptr<Node> node);

    sim::World& world_;
    sim::HostStore& store_;
    LayerOptions options_;
    Graph graph_;
    std::vector<std::unique_ptr<Node>> nodes_;  // in order of creation
    std::map<std::string, Node*, std::less<>> nodes_by_name_;
    std::vector<Node*> unreferenced_;
    std::vector<NodeRef> monitor_nodes_;
    std::vector<BlockBackend*> backends_;
    std::vector<EventSink> sinks_;
    std::unique_ptr<JobList> jobs_;
    std::shared_ptr<sim::Mutex> control_lock_ =
        std::make_shared<sim::Mutex>(sim::Label("control of the layer"));
    sim::WaitQueue drain_waiters_{"drained section"};
    std::vector<OpenSection> drained_sections_;  // in the order they began
    sim::WaitQueue close_waiters_{"closing of a node"};
    std::uint64_t closing_ = 0;  // nodes somebody is closing just now
    std::uint64_t next_generated_name_ = 0;
    std::uint64_t next_node_id_ = 1;
    bool reaping_posted_ = false;
    bool dropping_ = false;  // in the destructor: nothing is put in order any more
    // Outlives the layer in handlers that are still to run: false when it is gone.
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace blocklayer
