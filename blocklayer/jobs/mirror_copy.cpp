// SPDX-License-Identifier: Apache-2.0
// Mirror: which ranges are copied when, and by whom.
//
// An operation owns a range for its length: a copy, a guest's change in write-blocking mode, or a
// run of ranges about to become copies. Nobody else begins one that overlaps. Bits are cleared
// when a range has its owner and before its data is read, so that what changes later marks again.
#include <algorithm>
#include <vector>

#include "blocklayer/graph/dirty_bitmap.hpp"
#include "blocklayer/jobs/chain.hpp"
#include "blocklayer/jobs/mirror.hpp"
#include "blocklayer/layer.hpp"
#include "blocklayer/requests/memory.hpp"
#include "sim/check.hpp"
#include "sim/mutant.hpp"

namespace blocklayer {

struct Mirror::Operation {
    Operation(Mirror& mirror, std::uint64_t op_begin, std::uint64_t op_end)
        : job(mirror), begin(op_begin), end(op_end) {
        job.operations_.push_back(this);
    }
    Operation(const Operation&) = delete;
    Operation& operator=(const Operation&) = delete;
    ~Operation() {
        job.operations_.remove(this);
        job.operation_over_.wake_all();
    }
    Mirror& job;
    std::uint64_t begin, end;
};

std::uint64_t Mirror::aligned_up(std::uint64_t offset) const {
    const std::uint64_t rest = offset % unit_;
    const std::uint64_t up = rest == 0 ? offset : offset + (unit_ - rest);
    return std::min(up, std::max(source_->length(), offset));
}

Mirror::Operation* Mirror::overlapping(std::uint64_t begin, std::uint64_t end,
                                       const Operation* but) const {
    for (Operation* one : operations_)
        if (one != but && one->begin < end && begin < one->end) return one;
    return nullptr;
}

void Mirror::wait_for_range(sim::Co& co, std::uint64_t begin, std::uint64_t end,
                            const Operation* but) {
    while (overlapping(begin, end, but) != nullptr) operation_over_.wait(co);
}

void Mirror::wait_for_copies(sim::Co& co) {
    if (sim::mutant<"mirror: pauses with copies under way">()) return;
    while (in_flight_ > 0) operation_over_.wait(co);
}

bool Mirror::interrupted() const {
    return is_cancelled() || failed_ || io_status() != IoStatusFlag::ok;
}

// ---- what there is to copy at the start ---------------------------------------------------------

IoStatus Mirror::find_dirty(sim::Co& co) {
    const std::uint64_t length = source_->length();
    if (options_.sync == MirrorSync::none) return {};
    const Node* base = nullptr;
    if (options_.type == JobType::commit) {
        base = target_node_.get();
    } else if (options_.sync == MirrorSync::top) {
        base = below(*without_filters(source_.get()));
    } else {
        const NodeFlags& flags = target_node_->flags();
        if (!flags.discard_unmap || !target_node_->limits().zeroes_may_unmap) {
            dirty_->set(0, length);  // the target may hold anything
            return {};
        }
        TRY(zero_target(co));
    }
    for (std::uint64_t at = 0; at < length && !is_cancelled();) {
        pause_point(co);
        const NodeRef keep_base(const_cast<Node*>(base));
        const ChainStatus status = TRY(status_above(co, *source_, base, at, length - at));
        if (status.allocated) dirty_->set(at, status.length);
        at += status.length;
    }
    return {};
}

IoStatus Mirror::zero_target(sim::Co& co) {
    constexpr std::uint64_t step_bytes = std::uint64_t{1} << 30;
    const std::uint64_t length = source_->length();
    for (std::uint64_t at = 0; at < length && !is_cancelled(); at += step_bytes) {
        pause_point(co);
        const std::uint64_t step = std::min(step_bytes, length - at);
        TRY(target_->write_zeroes(co, at, step, RequestFlag::may_unmap));
    }
    return {};
}

// ---- copying ------------------------------------------------------------------------------------

// The next dirty range that nobody works on, after the one before, in whole units.
bool Mirror::next_run(sim::Co& co, std::uint64_t& begin, std::uint64_t& end) {
    auto dirty = dirty_->next_dirty(cursor_);
    if (!dirty) dirty = dirty_->next_dirty(0);
    if (!dirty) return false;
    begin = aligned_down(*dirty);
    end = aligned_up(begin + 1);
    if (!sim::mutant<"mirror: copies overlap with others">())
        wait_for_range(co, begin, end, nullptr);
    dirty = dirty_->next_dirty(begin);  // it may have been dealt with while we waited
    if (!dirty || *dirty >= end) return false;
    const std::uint64_t length = source_->length();
    while (end < length && end - begin < buffer_bytes_) {
        const std::uint64_t next = aligned_up(end + 1);
        const auto more = dirty_->next_dirty(end);
        if (!more || *more >= next || overlapping(end, next, nullptr) != nullptr) break;
        end = next;
    }
    return true;
}

// One piece of a run: as long as one way of copying fits.
Mirror::Piece Mirror::next_piece(sim::Co& co, std::uint64_t offset, std::uint64_t end) {
    Piece piece{offset, std::min(end - offset, chunk_bytes_), Change::write};
    const auto status = status_above(co, *source_, nullptr, offset, end - offset);
    if (!status) return piece;  // reading will say what is wrong
    // Less than a unit, as the image's end may be, is copied whatever it is.
    const std::uint64_t length = status->length - status->length % unit_;
    const bool zeroes = !status->data;
    const std::uint64_t cluster =
        std::max<std::uint64_t>(target_node_->driver().info().cluster_size, 1);
    // Of a cluster of the target only the whole is worth not being stored.
    if (zeroes && length > 0 && offset % cluster == 0 && length % cluster == 0)
        return {offset, length, Change::zero};
    piece.length = std::min(piece.length, std::max(length, unit_));
    return piece;
}

// Starts copies for one run. Gives how long to wait before the next.
sim::Duration Mirror::copy_run(sim::Co& co) {
    std::uint64_t begin = 0, end = 0;
    if (!next_run(co, begin, end)) return {};
    Operation run(*this, begin, end);
    if (!sim::mutant<"mirror: bits are cleared after the copy">())
        dirty_->clear(begin, end - begin);
    cursor_ = end;
    const bool zeroes_are_free =
        target_node_->flags().discard_unmap && target_node_->limits().zeroes_may_unmap;
    sim::Duration delay;
    while (run.begin < end) {
        while (!slot_free() && !interrupted()) wait_for_operation(co);
        if (interrupted()) break;
        const Piece piece = next_piece(co, run.begin, end);
        while (bytes_in_flight_ > 0 && bytes_in_flight_ + piece.length > buffer_bytes_ &&
               piece.change == Change::write && !interrupted())
            wait_for_operation(co);
        if (interrupted()) break;
        run.begin += piece.length;
        start_copy(piece);
        delay = account(piece.change == Change::write || !zeroes_are_free ? piece.length : 0);
    }
    if (run.begin < end && !sim::mutant<"mirror: an interrupted run is clean">())
        dirty_->set(run.begin, end - run.begin);
    return delay;
}

void Mirror::start_copy(Piece piece) {
    ++in_flight_;
    bytes_in_flight_ += piece.length;
    auto operation = std::make_shared<Operation>(*this, piece.offset, piece.offset + piece.length);
    const std::shared_ptr<Job> alive = shared_from_this();
    layer().world().spawn(
        layer().world().main_thread(), "mirror copy",
        [this, alive, piece, operation = std::move(operation)](sim::Co& co) mutable {
            bool is_read = false;
            const IoStatus status = copy(co, piece, is_read);
            if (sim::mutant<"mirror: bits are cleared after the copy">())
                dirty_->clear(piece.offset, piece.length);
            if (status) {
                advance_progress(piece.length);
            } else {
                if (!sim::mutant<"mirror: what could not be copied is clean">())
                    dirty_->set(piece.offset, piece.length);
                request_failed(is_read ? options_.on_source_error : options_.on_target_error,
                               is_read, status.error());
            }
            --in_flight_;
            bytes_in_flight_ -= piece.length;
            operation.reset();
            Drain::kick(layer());
        });
}

IoStatus Mirror::copy(sim::Co& co, const Piece& piece, bool& is_read) {
    if (piece.change != Change::write)
        return change_target(co, piece.change, piece.offset, piece.length, {});
    TRY(memory_for(filter_->filtered_child()->child(), "copying"));
    const auto bytes = std::make_unique_for_overwrite<std::byte[]>(piece.length);
    const sim::IoView data{std::span(bytes.get(), piece.length)};
    is_read = true;
    RequestFlags flags;
    if (onto_backing_) flags = RequestFlag::inconsistent_ok;
    TRY(filter_->filtered_child()->read(co, piece.offset, data, flags));
    is_read = false;
    return change_target(co, piece.change, piece.offset, piece.length, data);
}

IoStatus Mirror::change_target(sim::Co& co, Change change, std::uint64_t offset,
                               std::uint64_t length, sim::IoView data) {
    switch (change) {
    case Change::write: return target_->write(co, offset, data);
    case Change::zero:
        return target_->write_zeroes(
            co, offset, length,
            options_.unmap ? RequestFlags(RequestFlag::may_unmap) : RequestFlags());
    case Change::discard: return target_->discard(co, offset, length);
    }
    return {};
}

void Mirror::request_failed(OnError policy, bool is_read, Errno error) {
    if (is_cancelled()) return;
    const ErrorAction action = error_action(policy, is_read, error);
    if (action == ErrorAction::report) {
        if (!failed_) failed_ = error;
        enter();  // there is nothing left to sleep for
    }
    if (action == ErrorAction::ignore) retry_later_ = true;  // not for ever in one instant
}

// ---- write-blocking mode ------------------------------------------------------------------------

IoStatus Mirror::change_both(sim::Co& co, Change change, std::uint64_t offset, std::uint64_t length,
                             sim::IoView data,
                             const std::function<IoStatus(sim::Co&)>& change_source) {
    const std::shared_ptr<Job> alive = shared_from_this();
    const std::uint64_t begin = aligned_down(offset), end = aligned_up(offset + length);
    if (!sim::mutant<"mirror: a blocking write does not wait for copies">())
        wait_for_range(co, begin, end, nullptr);
    const Operation operation(*this, begin, end);
    const IoStatus status = change_source(co);
    INVARIANT(dirty_ != nullptr);  // the job cannot end under a guest's change
    const bool parts = offset % unit_ != 0 ||
                       ((offset + length) % unit_ != 0 && offset + length != source_->length());
    // What is dirty here will be copied as a whole; what failed has left nobody knows what.
    const auto dirty = dirty_->next_dirty(begin);
    const bool copied_later = dirty && *dirty < end;
    if (!status || failed_ || copied_later || (whole_units_ && parts)) {
        if (!sim::mutant<"mirror: what is left for later is not marked">())
            dirty_->set(offset, length);
        return status;
    }
    const IoStatus mirrored = change_target(co, change, offset, length, data);
    if (!mirrored) {
        dirty_->set(offset, length);
        request_failed(options_.on_target_error, /*is_read=*/false, mirrored.error());
        enter();
    } else {
        add_progress_left(length);
        advance_progress(length);
    }
    return status;
}

}  // namespace blocklayer
