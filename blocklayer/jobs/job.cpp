// SPDX-License-Identifier: Apache-2.0
#include "blocklayer/jobs/job.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "blocklayer/graph/drain.hpp"
#include "blocklayer/layer.hpp"
#include "sim/check.hpp"
#include "sim/mutant.hpp"
#include "sim/sync.hpp"

namespace blocklayer {
namespace {

bool well_formed(std::string_view id) {
    const auto is_letter = [](unsigned char c) { return std::isalpha(c) != 0; };
    const auto is_inner = [](unsigned char c) {
        return std::isalnum(c) != 0 || c == '-' || c == '.' || c == '_';
    };
    return !id.empty() && is_letter(static_cast<unsigned char>(id.front())) &&
           std::all_of(id.begin() + 1, id.end(), is_inner);
}

}  // namespace

Job::Job(BlockLayer& layer, JobType type, JobOptions options)
    : layer_(layer),
      type_(type),
      id_(std::move(options.id)),
      auto_finalize_(options.auto_finalize),
      auto_dismiss_(options.auto_dismiss),
      transaction_(std::move(options.transaction)),
      timer_(layer.world(), layer.world().main_thread(), "job sleeps", [this] { enter(); }) {}

Job::~Job() = default;

Status Job::add(std::shared_ptr<Job> job) {
    if (!well_formed(job->id_)) return failure(fmt::format("Invalid job ID '{}'", job->id_));
    JobList& list = job->layer_.jobs();
    if (list.find(job->id_) != nullptr)
        return failure(fmt::format("Job ID '{}' already in use", job->id_));
    list.jobs_.insert(list.jobs_.begin(), job);
    job->set_status(JobStatus::created);
    if (job->transaction_ == nullptr) job->transaction_ = std::make_shared<JobTransaction>();
    job->transaction_->add(job);
    return {};
}

void Job::withdraw() {
    EXPECTS(status_ == JobStatus::created);
    const std::shared_ptr<Job> alive = shared_from_this();
    std::erase(transaction_->jobs_, alive);
    transaction_.reset();
    dismiss();
}

void Job::start() {
    EXPECTS(!started_ && status_ == JobStatus::created);
    started_ = true;
    busy_ = turn_due_ = true;
    --pause_count_;
    set_status(JobStatus::running);
    const auto self = shared_from_this();
    layer_.world().spawn_service(layer_.world().main_thread(), "job", [self](sim::Co& co) {
        self->turn_due_ = false;
        self->pause_point(co);
        if (!self->force_cancelled_) self->result_ = self->run(co);
        self->fiber_ended_ = true;
        self->busy_ = false;
        self->fiber_over_.wake_all();
        Drain::kick(self->layer_);
        self->layer_.world().spawn(self->layer_.world().main_thread(), "job completes",
                                   [self](sim::Co& later) { self->completed(later); });
    });
}

void Job::set_status(JobStatus next) {
    INVARIANT(legal_next(status_, next));
    if (status_ == next) return;
    status_ = next;
    layer_.emit_event("JOB_STATUS_CHANGE",
                      Value::dict({{"status", Value(wire_name(next))}, {"id", Value(id_)}}));
}

std::string Job::describe() const { return fmt::format("{} job '{}'", wire_name(type_), id_); }

bool Job::is_completed() const {
    switch (status_) {
    case JobStatus::waiting:
    case JobStatus::pending:
    case JobStatus::aborting:
    case JobStatus::concluded:
    case JobStatus::null: return true;
    default: return false;
    }
}

bool Job::busy(const Edge&) const { return !fiber_ended_ && (busy_ || has_requests()); }

// ---- suspending ---------------------------------------------------------------------------------

void Job::suspend(sim::Co& co) {
    busy_ = false;
    Drain::kick(layer_);
    while (!busy_) entered_.wait(co);
    turn_due_ = false;
}

void Job::enter() {
    if (!started_ || busy_ || fiber_ended_) return;
    timer_.cancel();
    busy_ = turn_due_ = true;
    entered_.wake_all();
}

void Job::pause_point(sim::Co& co) {
    if (!should_pause() || force_cancelled_) return;
    before_pause(co);
    if (!should_pause() || force_cancelled_) return;
    const JobStatus before = status_;
    set_status(before == JobStatus::ready ? JobStatus::standby : JobStatus::paused);
    paused_ = true;
    do suspend(co);
    while (should_pause() && !force_cancelled_ && !sim::mutant<"jobs: any event ends a pause">());
    paused_ = false;
    set_status(before);
}

void Job::sleep(sim::Co& co, sim::Duration duration) {
    if (force_cancelled_) return;
    if (!should_pause()) {
        timer_.arm(layer_.world().now() + duration);
        suspend(co);
    }
    pause_point(co);
}

void Job::idle(sim::Co& co) {
    if (force_cancelled_) return;
    if (!should_pause()) suspend(co);
    pause_point(co);
}

void Job::set_ready() { set_status(JobStatus::ready); }

void Job::pause() {
    if (!sim::mutant<"jobs: a drained section does not pause">()) ++pause_count_;
    if (!paused_) enter();
}

void Job::resume() {
    if (sim::mutant<"jobs: a drained section does not pause">() && pause_count_ == 0) return;
    INVARIANT(pause_count_ > 0);
    if (--pause_count_ > 0) return;
    if (!sim::mutant<"jobs: a resumed job sleeps on">()) enter();
}

void Job::pause_for_user() {
    if (user_paused_) return;
    user_paused_ = true;
    pause();
}

// ---- verbs --------------------------------------------------------------------------------------

Status Job::check_verb(JobVerb verb) const {
    if (accepts(status_, verb)) return {};
    return failure(fmt::format("Job '{}' in state '{}' cannot accept command verb '{}'", id_,
                               wire_name(status_), wire_name(verb)));
}

Status Job::user_pause() {
    TRY(check_verb(JobVerb::pause));
    if (user_paused_) return failure("Job is already paused");
    pause_for_user();
    return {};
}

Status Job::user_resume() {
    if (!user_paused_ || pause_count_ == 0)
        return failure("Can't resume a job that was not paused");
    TRY(check_verb(JobVerb::resume));
    on_user_resume();
    user_paused_ = false;
    resume();
    return {};
}

Status Job::user_cancel(sim::Co& co, bool force) {
    TRY(check_verb(JobVerb::cancel));
    TRY(check_end(/*with_result=*/false));
    cancel(co, force);
    return {};
}

Status Job::user_complete(sim::Co& co) {
    TRY(check_verb(JobVerb::complete));
    if (cancelled_ || !can_complete())
        return failure(fmt::format("The active block job '{}' cannot be completed", id_));
    TRY(check_end(/*with_result=*/true));
    return on_complete(co);
}

Status Job::user_finalize(sim::Co& co) {
    TRY(check_verb(JobVerb::finalize));
    const std::shared_ptr<JobTransaction> transaction = transaction_;
    for (const auto& member : transaction->jobs())
        TRY(member->check_end(/*with_result=*/!member->cancelled_));
    transaction->finalize(co, *this);
    return {};
}

Status Job::user_dismiss() {
    TRY(check_verb(JobVerb::dismiss));
    dismiss();
    return {};
}

void Job::cancel_now(bool force) {
    // What is already over can only be thrown away.
    if (!on_cancel(force)) {
        if (fiber_ended_) return;
    } else {
        force = true;
    }
    if (user_paused_) {
        user_paused_ = false;
        INVARIANT(pause_count_ > 0);
        --pause_count_;
    }
    cancelled_ = true;
    force_cancelled_ = force_cancelled_ || force;
}

void Job::cancel(sim::Co& co, bool force) {
    const auto self = shared_from_this();
    if (status_ == JobStatus::concluded) return dismiss();
    cancel_now(force);
    if (!started_) {
        completed(co);
    } else if (fiber_ended_) {
        // Before its completion is decided the request is looked at then.
        const std::shared_ptr<JobTransaction> transaction = transaction_;
        if (force_cancelled_ && is_completed() && transaction != nullptr)
            transaction->abort(co, *this);
    } else {
        enter();
    }
}

void Job::wait_concluded(sim::Co& co) {
    const auto self = shared_from_this();
    while (status_ != JobStatus::concluded && status_ != JobStatus::null) concluded_.wait(co);
}

// A job and its transaction hold each other until it is over; a layer may be dropped before.
JobList::~JobList() {
    for (const auto& job : jobs_) job->transaction_.reset();
}

Job* JobList::find(std::string_view id) const {
    for (const auto& job : jobs_)
        if (job->id() == id) return job.get();
    return nullptr;
}

bool JobList::turn_due() const {
    return std::any_of(jobs_.begin(), jobs_.end(), [](const auto& job) { return job->turn_due_; });
}

void JobList::cancel_all(sim::Co& co) {
    while (!jobs_.empty()) {
        const std::shared_ptr<Job> job = jobs_.front();  // newest first
        job->cancel(co, /*force=*/true);
        if (job->status() == JobStatus::null) continue;
        job->wait_concluded(co);
        if (job->status() == JobStatus::concluded) job->cancel(co, /*force=*/true);  // dismisses
    }
}

}  // namespace blocklayer
