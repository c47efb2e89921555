// SPDX-License-Identifier: Apache-2.0
#include "blocklayer/jobs/stream.hpp"

#include <algorithm>
#include <vector>

#include "blocklayer/graph/drain.hpp"
#include "blocklayer/graph/filename.hpp"
#include "blocklayer/graph/open.hpp"
#include "blocklayer/graph/reopen.hpp"
#include "blocklayer/jobs/chain.hpp"
#include "blocklayer/layer.hpp"
#include "blocklayer/requests/request.hpp"
#include "sim/check.hpp"

namespace blocklayer {
namespace {

constexpr std::uint64_t step_bytes = 512 * 1024;
constexpr PermSet reads = Perm::consistent_read | Perm::write_unchanged;

}  // namespace

Stream::Stream(BlockLayer& layer, StreamOptions options)
    : BlockJob(layer, JobType::stream, options.job), options_(std::move(options)) {}

Stream::~Stream() = default;

Status Stream::launch(sim::Co& co, Node& overlay, Node& bottom, Node& last,
                      StreamOptions options) {
    const auto job = std::make_shared<Stream>(overlay.layer(), std::move(options));
    job->overlay_ = NodeRef(&overlay);
    job->bottom_ = NodeRef(&bottom);
    job->last_ = NodeRef(&last);
    bool added = false;
    const auto make = [&]() -> Status {
        TRY(job->make_writable(co));
        TRY(job->insert_filter(co));
        TRY(Job::add(job));
        added = true;
        return job->take_nodes();
    };
    Status status = make();
    if (status) {
        job->start();
        return {};
    }
    job->clean(co);
    if (added) job->withdraw();
    return status;
}

Status Stream::make_writable(sim::Co& co) {
    if (!overlay_->read_only()) return {};
    Graph& graph = layer().graph();
    TRY(graph.freeze_chain(*overlay_, last_.get()));
    Status status = Reopen::set_read_only(co, *overlay_, false);
    graph.unfreeze_chain(*overlay_, last_.get());
    was_read_only_ = status.has_value();
    return status;
}

Status Stream::insert_filter(sim::Co& co) {
    const DriverSpec* spec = find_driver("copy-on-read");
    INVARIANT(spec != nullptr);
    const auto not_created = [](const Error& error) {
        return failure("Could not create node: " + error.text, error.code);
    };
    const std::optional<std::string>& name = options_.filter_node_name;
    if (name && name->empty()) return failure("Could not create node: Invalid node-name: ''");
    Result<NodeRef> made =
        layer().make_node(name.value_or(""), *spec, spec->make(), {}, /*implicit=*/!name);
    if (!made) return not_created(made.error());
    const Value given =
        Value::dict({{"file", overlay_->name()}, {"bottom", bottom_->name()}});
    OpenContext context(layer(), **made, given);
    if (const Status opened = (*made)->driver().open(co, context); !opened) {
        if (Edge* edge = (*made)->filtered_child()) layer().graph().detach(*edge);
        return not_created(opened.error());
    }
    layer().refresh_limits(**made);
    filter_ = *made;
    const DrainedSection drained(co, *overlay_);
    const Status replaced = layer().graph().replace_node(*overlay_, *filter_);
    if (replaced) return {};
    return failure("Could not replace node: " + replaced.error().text, replaced.error().code);
}

Status Stream::take_nodes() {
    TRY(hold("main node", *filter_, {}, Main::yes));
    TRY(set_speed(options_.speed));
    reader_ = BlockBackend::make(layer(), {Perm::consistent_read, reads | Perm::write});
    reader_->queue_when_drained = false;
    TRY(reader_->insert(*filter_));
    TRY(hold("active node", *overlay_, {PermSet(), reads | Perm::write}));
    const Node* base = below(*last_);
    for (Node* node = below(*overlay_); node != nullptr && node != base; node = below(*node))
        TRY(hold("intermediate node", *node, {PermSet(), reads}));
    return {};
}

// ---- the work -----------------------------------------------------------------------------------

// How far it is the same: whether this is to be copied up.
IoResult<std::uint64_t> Stream::next_part(sim::Co& co, std::uint64_t offset, std::uint64_t length,
                                          bool& copy) {
    copy = false;
    Node& top = *without_filters(overlay_.get());
    const BlockStatus own = TRY(RequestLayer::block_status(co, top, offset, length));
    Node* next = below(top);
    const NodeRef base(below(*last_));
    if (own.allocated || next == nullptr || next == base.get()) return own.length;
    // Past its end there is nothing to bring up: without it there are zeroes there, too.
    if (offset >= next->length()) return own.length;
    const ChainStatus deeper = TRY(status_above(co, *next, base.get(), offset, own.length));
    copy = deeper.allocated;
    return deeper.length;
}

Status Stream::run(sim::Co& co) {
    if (without_filters(overlay_.get()) == bottom_.get()) return {};  // nothing is between
    const std::uint64_t length = reader_->length();
    set_progress_left(length);
    std::vector<std::byte> bytes(step_bytes);  // nobody looks at what is read
    sim::Duration delay;
    std::optional<Errno> ignored;
    for (std::uint64_t offset = 0; offset < length;) {
        sleep(co, delay);
        if (is_cancelled()) return {};
        delay = {};
        bool copy = false;
        // A filter above the image may not know how long that is by now.
        const std::uint64_t end = without_filters(overlay_.get())->length();
        const bool past_end = offset >= end;
        std::uint64_t part = past_end ? length - offset : std::min(step_bytes, end - offset);
        const IoResult<std::uint64_t> found =
            past_end ? IoResult<std::uint64_t>(part) : next_part(co, offset, part, copy);
        IoStatus status;
        if (found)
            part = *found;
        else
            status = Unexpected(found.error());
        if (copy)
            status = reader_->read(co, offset, std::span<std::byte>(bytes).first(part),
                                   RequestFlag::prefetch);
        if (!status) {
            const Errno error = status.error();
            const ErrorAction action = error_action(options_.on_error, /*is_read=*/true, error);
            if (action == ErrorAction::stop) continue;
            if (!ignored) ignored = error;
            if (action == ErrorAction::report) break;
        }
        advance_progress(part);
        if (copy) delay = account(part);
        offset += part;
    }
    // What could not be copied is still needed from below.
    if (ignored) return errno_failure(*ignored);
    return {};
}

// ---- the end ------------------------------------------------------------------------------------

// The reader comes to sit on the overlay, and needs of it what it needed of the filter.
void Stream::drop_filter(sim::Co& co) {
    if (!filter_ || filter_->filtered_child() == nullptr) return;
    const DrainedSection drained(co, *overlay_);
    filter_->driver().close(co);  // lets go of the chain
    const Status dropped = layer().graph().drop_filter(*filter_);
    if (!dropped) layer().world().emit("stream filter stays", filter_->subject());
}

Status Stream::prepare(sim::Co& co) {
    drop_filter(co);
    Node& top = *without_filters(overlay_.get());
    if (top.cow_child() == nullptr) return {};
    // What is below the last one now: snapshots and commits may have changed it.
    const NodeRef base(below(*last_));
    const DrainedSection drained(co, top);
    if (&top != last_.get())
        TRY(layer().graph().set_child(top, "backing", Role::cow, base.get()));
    std::string name, format;
    if (const Node* image = without_filters(base.get())) {
        name = shown_filename(*image);
        format = image->spec().name;
    }
    if (options_.backing_file) name = *options_.backing_file;
    return top.driver().change_backing_file(co, name, format);
}

void Stream::clean(sim::Co& co) {
    drop_filter(co);
    reader_.reset();
    filter_ = NodeRef();
    if (std::exchange(was_read_only_, false))
        (void)Reopen::set_read_only(co, *overlay_, true);
    overlay_ = bottom_ = last_ = NodeRef();
}

}  // namespace blocklayer
