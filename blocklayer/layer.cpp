// SPDX-License-Identifier: Apache-2.0
#include "blocklayer/layer.hpp"

#include <algorithm>
#include <bit>

#include "blocklayer/graph/dirty_bitmap.hpp"
#include "blocklayer/graph/drain.hpp"
#include "blocklayer/jobs/job.hpp"
#include "blocklayer/requests/request.hpp"
#include "sim/check.hpp"

namespace blocklayer {
namespace {

// The last ones of a node that closes, and its driver's.
void finish_requests(sim::Co& co, Node& node) {
    Drain::begin(co, node);
    if (node.in_flight() > 0)
        throw sim::AssertionFailure(
            fmt::format("node '{}' is closed under its requests", node.name()));
    if (node.writable()) (void)RequestLayer::flush(co, node);  // nobody is left to hear of it
    node.driver().close(co);
    Drain::end(node);
}

}  // namespace

BlockLayer::BlockLayer(sim::World& world, sim::HostStore& store, LayerOptions options)
    : world_(world),
      store_(store),
      options_(options),
      graph_(*this),
      jobs_(std::make_unique<JobList>()) {}

BlockLayer::~BlockLayer() {
    dropping_ = true;
    *alive_ = false;
    jobs_.reset();
    monitor_nodes_.clear();
    extensions.clear();
    // Drivers may hold references to other nodes: they go while all nodes are there.
    for (auto node = nodes_.rbegin(); node != nodes_.rend(); ++node) (*node)->driver_.reset();
}

Node* BlockLayer::find_node(std::string_view name) const {
    const auto found = nodes_by_name_.find(name);
    return found == nodes_by_name_.end() || !found->second->opened_ ? nullptr : found->second;
}

std::vector<Node*> BlockLayer::nodes() const {
    std::vector<Node*> nodes;
    nodes.reserve(nodes_.size());
    for (const auto& node : nodes_)
        if (node->opened_) nodes.push_back(node.get());
    return nodes;
}

Node* BlockLayer::find_device_or_node(std::string_view name) const {
    const BlockBackend* backend = find_backend(name);
    return backend != nullptr && backend->has_medium() ? backend->node() : find_node(name);
}

Node& BlockLayer::add_node(std::string name, const DriverSpec& spec) {
    nodes_.push_back(std::unique_ptr<Node>(new Node(*this, std::move(name), spec)));
    Node& node = *nodes_.back();
    nodes_by_name_.emplace(node.name(), &node);
    return node;
}

IoStatus BlockLayer::refresh_length(sim::Co& co, Node& node) {
    const NodeRef alive(&node);
    RequestLayer::set_length(node, TRY(node.driver().length(co)));
    return {};
}

void BlockLayer::refresh_limits(Node& node) {
    Limits limits = node.driver().limits();
    EXPECTS(std::has_single_bit(limits.request_alignment));
    for (const Edge* edge : node.children()) {
        const RoleSet role = edge->role();
        if (!role.has(Role::data) && !role.has(Role::filtered) && !role.has(Role::cow)) continue;
        const Limits& below = edge->child().limits();
        // Filters hand this on, and so have no more to offer than what is below.
        if (role.has(Role::filtered))
            limits.zeroes_may_unmap = limits.zeroes_may_unmap && below.zeroes_may_unmap;
        limits.opt_transfer = std::max(limits.opt_transfer, below.opt_transfer);
        if (below.max_transfer != 0)
            limits.max_transfer = limits.max_transfer == 0
                                      ? below.max_transfer
                                      : std::min(limits.max_transfer, below.max_transfer);
    }
    node.limits_ = limits;
}

void BlockLayer::release(Node& node) {
    if (dropping_ || world_.closing()) return;
    world_.touch(sim::Place());
    unreferenced_.push_back(&node);
    if (std::exchange(reaping_posted_, true)) return;
    world_.post(world_.main_thread(), "close unreferenced nodes", [this, alive = alive_] {
        if (!*alive) return;
        reaping_posted_ = false;
        if (unreferenced_.empty()) return;
        world_.spawn(world_.main_thread(), "close unreferenced nodes", [this, alive](sim::Co& co) {
            if (*alive) reap(co);
        });
    });
}

void BlockLayer::forget_node(Node& node, std::unique_ptr<Node>* taken) {
    nodes_by_name_.erase(node.name());
    const auto found = std::find_if(nodes_.begin(), nodes_.end(),
                                    [&](const auto& owned) { return owned.get() == &node; });
    INVARIANT(found != nodes_.end());
    *taken = std::move(*found);
    nodes_.erase(found);
}

void BlockLayer::reap(sim::Co& co) {
    while (!unreferenced_.empty() || closing_ > 0) {
        if (unreferenced_.empty()) {
            const std::shared_ptr<bool> alive = alive_;
            close_waiters_.wait(co);
            if (!*alive) return;  // whoever dropped the layer had waited for the same
            continue;
        }
        Node* node = unreferenced_.front();
        std::erase(unreferenced_, node);      // it may be there more than once
        if (node->references_ > 0) continue;  // somebody took it again
        std::unique_ptr<Node> closing;
        forget_node(*node, &closing);
        ++closing_;
        close_node(co, std::move(closing));
        --closing_;
        close_waiters_.wake_all();
    }
}

void BlockLayer::close_node(sim::Co& co, std::unique_ptr<Node> node) {
    INVARIANT(node->parents().empty() && node->references_ == 0);
    ++node->references_;  // not to be queued again by what happens here
    try {
        if (node->opened_) finish_requests(co, *node);
    } catch (...) {
        nodes_.push_back(std::move(node));  // edges and what is under way still refer to it
        throw;
    }
    const std::vector<Edge*> children = node->children();
    for (Edge* edge : children) graph_.detach(*edge);
    graph_.forget(*node);
    // Whatever the driver still holds goes while the layer is in order.
    node->driver_.reset();
}

void BlockLayer::shut_down(sim::Co& co) {
    jobs_->cancel_all(co);
    for (BlockBackend* backend : std::vector<BlockBackend*>(backends_)) {
        if (backend->node() == nullptr) continue;
        const NodeRef node(backend->node());
        const DrainedSection drained(co, *node);
        backend->remove();
    }
    monitor_nodes_.clear();
    reap(co);
}

BlockBackend* BlockLayer::find_backend(std::string_view name) const {
    if (name.empty()) return nullptr;
    for (BlockBackend* backend : backends_)
        if (backend->name() == name) return backend;
    return nullptr;
}

BlockBackend* BlockLayer::find_device_backend(std::string_view id) const {
    if (id.empty()) return nullptr;
    for (BlockBackend* backend : backends_)
        if (backend->device_id() == id || backend->qom_path() == id) return backend;
    return nullptr;
}

const std::string* BlockLayer::blocked(const Node& node, std::uint32_t operation) const {
    const OpBlocker* hold = withheld(node, operation);
    return hold == nullptr ? nullptr : &hold->reason;
}

void BlockLayer::emit_event(sim::Label name, Value data) {
    world_.touch(sim::Place());  // clients may do anything, and see the order of events
    world_.emit(name);
    const auto event =
        std::make_shared<const QmpEvent>(QmpEvent{name, std::move(data), world_.now()});
    for (const EventSink& sink : sinks_) sink(event);
}

}  // namespace blocklayer
