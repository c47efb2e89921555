// SPDX-License-Identifier: Apache-2.0
#include "blocklayer/jobs/commit.hpp"

#include <algorithm>
#include <vector>

#include "blocklayer/graph/drain.hpp"
#include "blocklayer/graph/filename.hpp"
#include "blocklayer/graph/reopen.hpp"
#include "blocklayer/jobs/chain.hpp"
#include "blocklayer/jobs/mirror.hpp"
#include "blocklayer/layer.hpp"
#include "blocklayer/requests/memory.hpp"
#include "sim/check.hpp"
#include "sim/mutant.hpp"

namespace blocklayer {
namespace {

constexpr PermSet writes = Perm::write | Perm::write_unchanged;
constexpr std::uint64_t step_bytes = 512 * 1024;

// The filter: shows what is below, and asks nothing of it.
class CommitTop final : public Driver {
public:
    static const DriverSpec& driver_spec() {
        static const DriverSpec spec{.name = "commit_top",
                                     .kind = DriverKind::filter,
                                     .options = {},
                                     .create_options = {},
                                     .filtered_child = "backing",
                                     .strong_options = {},
                                     .source = "graphs as observed",
                                     .protocols = {},
                                     .named_as_child = true};
        return spec;
    }

    Status open(sim::Co&, OpenContext&) override {
        INVARIANT(false);  // only jobs make it
        return {};
    }
    // What top decides has not changed, and what it does not decide is equal in base and above.
    IoStatus read(sim::Co& co, std::uint64_t offset, sim::IoView into,
                  RequestFlags flags) override {
        return below().read(co, offset, into, flags | RequestFlag::inconsistent_ok);
    }
    IoResult<std::uint64_t> length(sim::Co&) override { return below().child().length(); }
    Claim child_claim(const Edge*, RoleSet, Claim, bool) const override { return {}; }

private:
    Edge& below() const {
        Edge* edge = node().filtered_child();
        INVARIANT(edge != nullptr);
        return *edge;
    }
};

}  // namespace

Commit::Commit(BlockLayer& layer, CommitOptions options)
    : BlockJob(layer, JobType::commit, options.job), options_(std::move(options)) {}

Commit::~Commit() = default;

Status Commit::launch(sim::Co& co, Node& active, Node& top, Node& base, CommitOptions options) {
    if (without_filters(&top) == without_filters(&base))
        return failure("Invalid files for merge: top and base are the same");
    const NodeRef keep[] = {NodeRef(&active), NodeRef(&top), NodeRef(&base)};
    const auto job = std::make_shared<Commit>(active.layer(), std::move(options));
    TRY(Job::add(job));
    const auto prepare_graph = [&]() -> Status {
        TRY(job->hold("main node", active, {}, Main::yes));
        TRY(job->set_speed(job->options_.speed));
        job->active_ = NodeRef(&active);
        TRY(job->make_base_writable(co, base));
        TRY(job->insert_filter(co, top));
        return job->take_nodes(top, base);
    };
    Status status = prepare_graph();
    if (status) {
        job->start();
        return {};
    }
    job->abort(co);
    job->clean(co);
    job->withdraw();
    return status;
}

Status Commit::make_base_writable(sim::Co& co, Node& base) {
    base_node_ = NodeRef(&base);
    if (!base.read_only()) return {};
    TRY(Reopen::set_read_only(co, base, false));
    base_was_read_only_ = true;
    return {};
}

Status Commit::insert_filter(sim::Co& co, Node& top) {
    NodeFlags flags;
    flags.read_only = true;
    filter_ = TRY(make_filter(options_.filter_node_name, CommitTop::driver_spec(),
                              std::make_unique<CommitTop>(), flags, top));
    top_node_ = NodeRef(&top);
    const DrainedSection drained(co, top);
    TRY(layer().graph().append(*filter_, top, "backing", role_filtered));
    layer().refresh_limits(*filter_);
    return {};
}

Status Commit::take_nodes(Node& top, Node& base) {
    TRY(layer().graph().freeze_chain(*filter_, &base));
    frozen_ = true;
    // Filters right above the base show what it holds, and stay consistent.
    const Node* lowest_overlay = &top;
    for (Node* node = &top; node != &base; node = below(*node))
        if (!node->is_filter()) lowest_overlay = node;
    PermSet shared = writes;
    for (Node* node = &top; node != &base; node = below(*node)) {
        TRY(hold("intermediate node", *node, {PermSet(), shared}));
        if (node == lowest_overlay) shared = shared | Perm::consistent_read;
    }
    TRY(hold("base", base, {}));

    Claim claim{Perm::consistent_read | Perm::write, Perm::consistent_read | Perm::write_unchanged};
    if (base.length() < top.length()) claim.used = claim.used | Perm::resize;
    base_ = BlockBackend::make(layer(), claim);
    base_->queue_when_drained = false;
    TRY(base_->insert(base));
    top_ = BlockBackend::make(layer(), {});
    top_->queue_when_drained = false;
    return top_->insert(top);
}

void Commit::unfreeze() {
    if (std::exchange(frozen_, false)) layer().graph().unfreeze_chain(*filter_, base_node_.get());
}

// ---- the work -----------------------------------------------------------------------------------

Status Commit::copy(sim::Co& co, std::uint64_t offset, std::uint64_t length, bool& is_read) {
    is_read = true;
    if (const IoStatus memory = memory_for(*top_node_, "copying"); !memory)
        return errno_failure(memory.error());
    std::vector<std::byte> bytes(length);
    const sim::IoView data{std::span<std::byte>(bytes)};
    if (const IoStatus read = top_->read(co, offset, data, RequestFlag::inconsistent_ok); !read)
        return errno_failure(read.error());
    is_read = false;
    if (const IoStatus written = base_->write(co, offset, data); !written)
        return errno_failure(written.error());
    return {};
}

Status Commit::run(sim::Co& co) {
    const std::uint64_t length = top_->length();
    set_progress_left(length);
    if (base_->length() < length) TRY(by_errno(base_->truncate(co, length, /*exact=*/false)));
    sim::Duration delay;
    for (std::uint64_t offset = 0; offset < length;) {
        sleep(co, delay);
        if (is_cancelled()) return {};
        delay = {};
        const std::uint64_t step = std::min(step_bytes, length - offset);
        const auto found = status_above(co, *top_node_, base_node_.get(), offset, step);
        bool is_read = true;
        Status status;
        if (!found)
            status = errno_failure(found.error());
        else if (found->allocated &&
                 !(sim::mutant<"commit: zeroes are not copied">() && found->zero))
            status = copy(co, offset, found->length, is_read);
        if (!status) {
            const ErrorAction action =
                error_action(options_.on_error, is_read, status.error().code);
            if (action == ErrorAction::report) return status;
            delay = RateLimit::slice;  // it is tried again, but not for ever in one instant
            if (sim::mutant<"commit: what failed is passed over">()) offset += 4096;
            continue;
        }
        if (found->allocated) delay = account(found->length);
        advance_progress(found->length);
        offset += found->length;
    }
    return {};
}

// ---- the end ------------------------------------------------------------------------------------

// The overlay's header names the base from now on.
Status Commit::rename_backing(sim::Co& co, Node& overlay) {
    const bool was_read_only = overlay.read_only();
    if (was_read_only) TRY(Reopen::set_read_only(co, overlay, false));
    std::string name = options_.backing_file;
    if (name.empty()) name = shown_filename(*base_node_);
    Status status = overlay.driver().change_backing_file(co, name, base_node_->spec().name);
    if (was_read_only) (void)Reopen::set_read_only(co, overlay, true);
    return status;
}

Status Commit::prepare(sim::Co& co) {
    unfreeze();
    base_.reset();
    const DrainedSection drained(co, {top_node_.get(), base_node_.get()});
    const std::vector<Edge*> parents = filter_->parents();
    for (const Edge* edge : parents) {
        Node* overlay = edge->parent().as_node();
        if (overlay == nullptr || !edge->role().has(Role::cow)) continue;
        if (!sim::mutant<"commit: overlays keep the old name">()) TRY(rename_backing(co, *overlay));
    }
    return layer().graph().replace_node(*filter_, *base_node_, Strict::yes);
}

// Everything goes back to where it was.
void Commit::abort(sim::Co& co) {
    base_.reset();
    top_.reset();
    if (filter_) unfreeze();
    let_go();
    if (!filter_ || filter_->filtered_child() == nullptr) return;
    const DrainedSection drained(co, *top_node_);
    const Status dropped = layer().graph().drop_filter(*filter_);
    if (!dropped) layer().world().emit("commit filter stays", filter_->subject());
}

// Its nodes it holds until it is dismissed.
void Commit::clean(sim::Co& co) {
    base_.reset();
    top_.reset();
    filter_ = NodeRef();
    // Who has come to write to it meanwhile keeps it writable.
    if (std::exchange(base_was_read_only_, false))
        (void)Reopen::set_read_only(co, *base_node_, true);
    active_ = top_node_ = base_node_ = NodeRef();
}

Status launch_active_commit(sim::Co& co, Node& top, Node& base, CommitOptions options) {
    const NodeRef keep_top(&top), keep_base(&base);
    const bool was_read_only = base.read_only();
    if (was_read_only) TRY(Reopen::set_read_only(co, base, false));
    MirrorOptions mirror{.job = std::move(options.job),
                         .type = JobType::commit,
                         .sync = MirrorSync::full,
                         .speed = options.speed,
                         .on_source_error = options.on_error,
                         .on_target_error = options.on_error,
                         .replaces = {},
                         .filter_node_name = std::move(options.filter_node_name)};
    Status status = Mirror::launch(co, top, base, std::move(mirror));
    if (!status && was_read_only) (void)Reopen::set_read_only(co, base, true);
    return status;
}

}  // namespace blocklayer
