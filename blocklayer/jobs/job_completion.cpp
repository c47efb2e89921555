// SPDX-License-Identifier: Apache-2.0
// How jobs end: one verdict for all of a transaction, then each is committed or aborted, cleaned
// up, announced and concluded.
#include <algorithm>

#include "blocklayer/jobs/job.hpp"
#include "blocklayer/layer.hpp"
#include "sim/check.hpp"
#include "sim/sync.hpp"

namespace blocklayer {

// Commands do not begin while a completion is under way, nor does it begin inside a command.
void Job::completed(sim::Co& co) {
    const std::shared_ptr<Job> self = shared_from_this();
    std::shared_ptr<sim::Mutex> dispatcher;
    if (started_) {
        dispatcher = layer_.control_lock();
        dispatcher->lock(co);
    }
    // Another member of the transaction may have failed and finished this one meanwhile.
    if (status_ != JobStatus::concluded && status_ != JobStatus::null && transaction_ != nullptr) {
        settle_result();
        const std::shared_ptr<JobTransaction> transaction = transaction_;
        if (result_)
            transaction->member_succeeded(co, *this);
        else
            transaction->abort(co, *this);
    }
    layer_.reap(co);
    if (dispatcher != nullptr) dispatcher->unlock();
}

void Job::settle_result() {
    if (result_ && force_cancelled_)
        result_ = errno_failure(Errno::canceled);
    if (!result_ && status_ != JobStatus::aborting) set_status(JobStatus::aborting);
}

void Job::finalize_single(sim::Co& co) {
    INVARIANT(is_completed() || !started_);
    INVARIANT(!has_requests());
    settle_result();
    if (result_)
        commit(co);
    else
        abort(co);
    clean(co);
    if (started_) on_concluded();
    std::erase(transaction_->jobs_, shared_from_this());
    transaction_.reset();
    conclude();
}

void Job::conclude() {
    set_status(JobStatus::concluded);
    concluded_.wake_all();
    if (auto_dismiss_ || !started_) dismiss();
}

void Job::dismiss() {
    busy_ = false;
    timer_.cancel();
    on_dismiss();
    set_status(JobStatus::null);
    std::erase(layer_.jobs().jobs_, shared_from_this());
    concluded_.wake_all();
}

void JobTransaction::add(std::shared_ptr<Job> job) {
    jobs_.insert(jobs_.begin(), std::move(job));  // newest first
}

void JobTransaction::member_succeeded(sim::Co& co, Job& job) {
    job.set_status(JobStatus::waiting);
    for (const auto& member : jobs_)
        if (!member->is_completed()) return;
    bool by_user = false;
    for (const auto& member : jobs_) {
        member->set_status(JobStatus::pending);
        if (member->auto_finalize_) continue;
        by_user = true;
        member->on_pending();
    }
    if (!by_user) finalize(co, job);
}

void JobTransaction::finalize(sim::Co& co, Job& asked) {
    const std::vector<std::shared_ptr<Job>> members = jobs_;
    for (const auto& member : members) {
        if (member->result_) member->result_ = member->prepare(co);
        if (!member->result_) return abort(co, asked);
    }
    for (const auto& member : members) member->finalize_single(co);
}

void JobTransaction::abort(sim::Co& co, Job& failed) {
    if (aborting_) return;
    aborting_ = true;
    const std::vector<std::shared_ptr<Job>> members = jobs_;
    for (const auto& member : members)
        if (member.get() != &failed) member->cancel_now(/*force=*/true);
    for (const auto& member : members) {
        member->enter();
        while (member->started_ && !member->fiber_ended_) member->fiber_over_.wait(co);
        member->settle_result();
        member->finalize_single(co);
    }
    aborting_ = false;
}

}  // namespace blocklayer
