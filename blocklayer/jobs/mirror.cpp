// SPDX-License-Identifier: Apache-2.0
// The job: its nodes, its loop, and how it ends.
#include "blocklayer/jobs/mirror.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "blocklayer/graph/dirty_bitmap.hpp"
#include "blocklayer/graph/reopen.hpp"
#include "blocklayer/jobs/chain.hpp"
#include "blocklayer/jobs/mirror_top.hpp"
#include "blocklayer/layer.hpp"
#include "blocklayer/requests/request.hpp"
#include "sim/check.hpp"
#include "sim/mutant.hpp"

namespace blocklayer {
namespace {

constexpr PermSet reads_and_writes =
    Perm::consistent_read | Perm::write | PermSet(Perm::write_unchanged);
constexpr std::uint64_t default_buffer_bytes = 16 * 1024 * 1024;
constexpr std::uint32_t granularity_default_min = 4096, granularity_default_max = 64 * 1024;

std::uint32_t default_granularity(Node& target) {
    const std::uint64_t cluster = target.driver().info().cluster_size;
    if (cluster == 0) return granularity_default_max;
    return static_cast<std::uint32_t>(
        std::clamp<std::uint64_t>(cluster, granularity_default_min, granularity_default_max));
}

}  // namespace

Mirror::Mirror(BlockLayer& layer, MirrorOptions options)
    : BlockJob(layer, options.type, options.job),
      options_(std::move(options)),
      look_again_(layer.world(), layer.world().main_thread(), "mirror looks again",
                  [this] { enter(); }) {}

Mirror::~Mirror() = default;

Status Mirror::launch(sim::Co& co, Node& source, Node& target, MirrorOptions options) {
    if (without_filters(&source) == without_filters(&target))
        return failure("Can't mirror node into itself");
    BlockLayer& layer = source.layer();
    const NodeRef keep_source(&source), keep_target(&target);
    const auto job = std::make_shared<Mirror>(layer, std::move(options));
    job->onto_backing_ = chain_contains(source, target);
    TRY(job->insert_filter(co, source));
    Status status = Job::add(job);
    const bool added = status.has_value();
    if (status) status = job->take_nodes(source, target);
    if (status) {
        job->start();
        return {};
    }
    // The filter is closed while it still stands on the source, and flushes that.
    if (source.writable()) (void)RequestLayer::flush(co, source);
    job->remove_filter(co);
    job->drop_bitmap();
    if (added) job->withdraw();
    return status;
}

Status Mirror::insert_filter(sim::Co& co, Node& source) {
    auto driver = std::make_unique<MirrorTop>(onto_backing_);
    top_ = driver.get();
    NodeFlags flags;
    flags.discard_unmap = true;
    filter_ = TRY(make_filter(options_.filter_node_name, MirrorTop::driver_spec(),
                              std::move(driver), flags, source));
    filter_->keeps_to_itself();
    source_ = NodeRef(&source);
    const DrainedSection drained(co, source);
    TRY(layer().graph().append(*filter_, source, "backing", role_filtered));
    layer().refresh_limits(*filter_);
    return {};
}

Status Mirror::take_nodes(Node& source, Node& target) {
    TRY(hold("main node", *filter_, {Perm::consistent_read, reads_and_writes}, Main::yes));
    TRY(set_speed(options_.speed));
    if (!onto_backing_ && chain_contains(source, *without_filters(&target)))
        return failure("Cannot mirror to a filter on top of a node in the source's backing chain");

    Claim claim{Perm::write, Perm::write_unchanged};
    if (onto_backing_) {
        claim.shared = reads_and_writes;
        if (target.length() < source.length()) claim.used = claim.used | Perm::resize;
    }
    target_node_ = NodeRef(&target);
    target_ = BlockBackend::make(layer(), claim);
    target_->queue_when_drained = false;
    target_->allow_inactivate = true;
    TRY(target_->insert(target));

    const std::uint32_t granularity =
        options_.granularity != 0 ? options_.granularity : default_granularity(target);
    auto bitmap = std::make_unique<DirtyBitmap>("", source.length(), granularity);
    bitmap->enabled = !options_.write_blocking;
    bitmap->on_set = [this] { source_changed(); };
    dirty_ = bitmap.get();
    source.dirty_bitmaps().insert(source.dirty_bitmaps().begin(), std::move(bitmap));

    const LayerLimits& limits = layer().limits();
    buffer_bytes_ = std::max<std::uint64_t>(
        options_.buffer_bytes != 0 ? options_.buffer_bytes : default_buffer_bytes, granularity);
    slots_ = std::max<std::uint32_t>(limits.job_slots, 1);
    unit_ = granularity;
    whole_units_ = options_.sync != MirrorSync::full && !onto_backing_ &&
                   target.spec().supports_backing && target.cow_child() == nullptr;
    if (whole_units_) unit_ = std::max(unit_, target.driver().info().cluster_size);
    buffer_bytes_ = std::max(buffer_bytes_, unit_);
    chunk_bytes_ = std::max(
        std::min(std::max(buffer_bytes_ / slots_, limits.job_chunk_bytes), buffer_bytes_), unit_);
    chunk_bytes_ -= chunk_bytes_ % unit_;

    TRY(hold("source", source, {PermSet(), reads_and_writes}));
    TRY(hold("target", target, {PermSet(), PermSet::all()}));
    if (onto_backing_) TRY(take_intermediate(source, target));
    top_->set_job(this);
    return {};
}

// What is between the source and a target below it is read by nobody who wants consistency.
Status Mirror::take_intermediate(Node& source, Node& target) {
    const PermSet writes = Perm::write | Perm::write_unchanged;
    // Filters right above the target show what it holds: they stay consistent.
    Node* const lowest_overlay = [&] {
        Node* overlay = nullptr;
        for (Node* node = &source; node != nullptr && node != &target; node = below(*node))
            if (!node->is_filter()) overlay = node;
        return overlay;
    }();
    bool above_base = true;
    for (Node* node = &source; node != &target; node = below(*node)) {
        if (node != &source)
            TRY(hold("intermediate node", *node,
                     {PermSet(), above_base ? writes : reads_and_writes}));
        if (node == lowest_overlay) above_base = false;
    }
    TRY(layer().graph().freeze_chain(*filter_, &target));
    frozen_ = true;
    return {};
}

void Mirror::drop_bitmap() {
    if (dirty_ == nullptr) return;
    std::erase_if(source_->dirty_bitmaps(),
                  [&](const auto& bitmap) { return bitmap.get() == dirty_; });
    dirty_ = nullptr;
}

// Detached first: a destructor could not report what the check of the graph finds.
void Mirror::drop_target() {
    if (target_ != nullptr && target_->root() != nullptr) target_->remove();
    target_.reset();
}

bool Mirror::busy(const Edge& edge) const {
    if (draining_) return in_flight_ > 0;
    return Job::busy(edge);
}

// ---- the loop -----------------------------------------------------------------------------------

Status Mirror::match_sizes(sim::Co& co) {
    const std::uint64_t length = source_->length();
    if (options_.type != JobType::commit) {
        if (target_->length() == length) return {};
        return failure("Source and target image have different sizes");
    }
    if (target_->length() >= length || sim::mutant<"commit: the base keeps its length">())
        return {};
    return by_errno(target_->truncate(co, length, /*exact=*/false));
}

Status Mirror::run(sim::Co& co) {
    TRY(match_sizes(co));
    if (const IoStatus found = find_dirty(co); !found)
        return errno_failure(found.error());

    for (;;) {
        pause_point(co);
        if (is_cancelled() || failed_) break;
        const bool clean = dirty_->dirty_granules() == 0;
        set_progress_left(dirty_->dirty_bytes() + bytes_in_flight_);
        if (std::exchange(retry_later_, false)) {
            sleep(co, RateLimit::slice);
        } else if (clean && operations_.empty()) {
            if (const IoStatus flushed = target_->flush(co); !flushed) {
                request_failed(options_.on_target_error, /*is_read=*/false, flushed.error());
                continue;
            }
            if (dirty_->dirty_granules() > 0 || is_cancelled()) continue;
            if (!is_ready()) become_ready();
            if (should_complete_ || cancel_requested()) {
                if (stand_still(co)) return {};
                continue;
            }
            idle_since_ = layer().world().now();
            idle(co);
        } else if (clean || !slot_free()) {
            wait_for_operation(co);
        } else {
            sleep(co, copy_run(co));
        }
    }
    wait_for_copies(co);
    if (is_cancelled() || !failed_) return {};
    return errno_failure(*failed_);
}

void Mirror::become_ready() {
    set_ready();
    layer().emit_event("BLOCK_JOB_READY", event_data());
}

// Begins the drained section in which the swap will be made, if there is nothing left to copy.
bool Mirror::stand_still(sim::Co& co) {
    draining_ = true;
    drained_ = std::make_unique<DrainedSection>(co, *source_);
    draining_ = false;
    const bool clean = sim::mutant<"mirror: no second look before the swap">() ||
                       (dirty_->dirty_granules() == 0 && operations_.empty());
    if (!clean || is_cancelled() || sim::mutant<"S02">()) drained_.reset();
    return clean && !is_cancelled();
}

void Mirror::before_pause(sim::Co& co) { wait_for_copies(co); }

// A mirror that is ready has a result: it ends with it unless forced.
bool Mirror::on_cancel(bool force) { return force || !is_ready(); }

Status Mirror::on_complete(sim::Co& co) {
    (void)co;
    if (!options_.replaces.empty() && !replaced_) {
        Node* node = layer().find_node(options_.replaces);
        if (node == nullptr)
            return failure(
                fmt::format("Failed to find node with node-name='{}'", options_.replaces));
        replaced_ = NodeRef(node);
        close_to(*node, op_all, fmt::format("block device is in use by {}", "block-job-complete"),
                 this);
    }
    should_complete_ = true;
    enter();
    return {};
}

// Something waits to be copied.
void Mirror::source_changed() {
    if (!is_ready() || busy() || look_again_.armed() || fiber_ended()) return;
    // It wakes at the end of each slice; where there is nothing to do nobody can tell.
    const std::int64_t slept = (layer().world().now() - idle_since_).ns;
    const std::int64_t slices = slept / RateLimit::slice.ns + 1;
    look_again_.arm(idle_since_ + RateLimit::slice * slices);
}

// ---- the end ------------------------------------------------------------------------------------

Status Mirror::prepare(sim::Co& co) {
    if (cancel_requested()) return {};
    return swap_in_target(co);
}

// The graph that the job leaves: with a result all parents of what is replaced are the target's;
// the filter is gone, with what the job held.
Status Mirror::make_final_graph(Transaction& tx, bool with_result) {
    Graph& graph = layer().graph();
    std::vector<Node*> changed{filter_.get(), source_.get(), target_node_.get()};
    for (Edge* edge : edges()) {
        changed.push_back(&edge->child());
        graph.detach(tx, *edge);
    }
    if (target_ != nullptr && target_->root() != nullptr) graph.detach(tx, *target_->root());
    top_->stop();
    tx.on_abort([this] { top_->unstop(); });
    graph.detach(tx, *filter_->filtered_child());
    Node* shown = source_.get();
    if (with_result) {
        Node& replaced = replaced_ ? *replaced_ : *source_;
        changed.push_back(&replaced);
        TRY(graph.replace_parents(tx, replaced, *target_node_, Strict::no));
        if (!replaced_) shown = target_node_.get();
    }
    TRY(graph.replace_parents(tx, *filter_, *shown, Strict::no));
    return graph.refresh(tx, changed);
}

// Only for a target below the source somebody may have come to rely on what the filter does not
// demand. The real program does not look, and dies.
Status Mirror::check_end(bool with_result) {
    if (!frozen_) return {};
    Transaction trial;  // undone when it goes
    return make_final_graph(trial, with_result);
}

Status Mirror::swap_in_target(sim::Co& co) {
    Node& replaced = replaced_ ? *replaced_ : *source_;
    drop_target();  // the job writes no more: the target may become read-only, as the source is
    // Where somebody else writes to it, it stays as it is.
    if (target_node_->read_only() != replaced.read_only())
        (void)Reopen::set_read_only(co, *target_node_, replaced.read_only());
    const DrainedSection target_drained(co, *target_node_);
    let_go();
    if (std::exchange(frozen_, false))
        layer().graph().unfreeze_chain(*filter_, target_node_.get());
    Transaction tx;
    TRY(make_final_graph(tx, /*with_result=*/true));
    tx.commit();
    return {};
}

void Mirror::abort(sim::Co& co) { remove_filter(co); }

// Takes the filter away where it is still there. When others have come to depend on what it does
// not demand, it stays, as a node that only hands on.
void Mirror::remove_filter(sim::Co& co) {
    if (!filter_) return;
    top_->set_job(nullptr);
    Edge* edge = filter_->filtered_child();
    if (edge == nullptr) return;
    if (drained_ == nullptr) drained_ = std::make_unique<DrainedSection>(co, *source_);
    drop_target();
    let_go();
    Graph& graph = layer().graph();
    if (std::exchange(frozen_, false)) graph.unfreeze_chain(*filter_, target_node_.get());
    const Status dropped = graph.drop_filter(*filter_);
    if (!dropped) layer().world().emit("mirror filter stays", filter_->subject());
}

void Mirror::clean(sim::Co& co) {
    remove_filter(co);
    drop_target();
    look_again_.cancel();
    INVARIANT(operations_.empty());
    drop_bitmap();
    let_go();
    if (replaced_) open_again(*replaced_, this);
    drained_.reset();
    filter_ = source_ = target_node_ = replaced_ = NodeRef();
}

}  // namespace blocklayer
