// SPDX-License-Identifier: Apache-2.0
// Job: a long-running operation with a state machine, verbs and pause points.
//
// A job's work is a fiber (run). When that ends, completion is an event of its own: it decides,
// together with the job's transaction, whether the result is committed or undone. The window
// before it is real: commands may run there.
//
// invariant  each status follows from the one before (legal_next); commit xor abort
// source     QAPI job.json JobStatus, JobVerb; texts as observed on the real program
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "blocklayer/errors.hpp"
#include "blocklayer/graph/edge.hpp"
#include "sim/co.hpp"
#include "sim/time.hpp"
#include "sim/wait_queue.hpp"
#include "sim/world.hpp"

namespace blocklayer {

class BlockLayer;
class BlockJob;
class JobTransaction;

// How a job tells of an errno: in its own sentence alone.
inline Unexpected<Error> errno_failure(Errno error) {
    return failure(sim::errno_text(error), error);
}

enum class JobType : std::uint8_t { commit, stream, mirror, backup, create };

enum class JobStatus : std::uint8_t {
    undefined,
    created,
    running,
    paused,
    ready,
    standby,
    waiting,
    pending,
    aborting,
    concluded,
    null,
};

enum class JobVerb : std::uint8_t { cancel, pause, resume, set_speed, complete, finalize, dismiss };

std::string_view wire_name(JobType type);
std::string_view wire_name(JobStatus status);
std::string_view wire_name(JobVerb verb);
// May a job go from one status to the other?
bool legal_next(JobStatus from, JobStatus to);
// May this verb be used on a job of that status?
bool accepts(JobStatus status, JobVerb verb);

struct JobOptions {
    std::string id;
    bool auto_finalize = true;
    bool auto_dismiss = true;
    std::shared_ptr<JobTransaction> transaction;  // nullptr: one of its own
};

class Job : public EdgeParent, public std::enable_shared_from_this<Job> {
public:
    Job(BlockLayer& layer, JobType type, JobOptions options);
    Job(const Job&) = delete;
    Job& operator=(const Job&) = delete;
    ~Job() override;

    // Makes it known to the layer (status created), or refuses.
    // errors: Invalid job ID 'x'; Job ID 'x' already in use
    static Status add(std::shared_ptr<Job> job);
    // Takes back a job that was added and never started.
    void withdraw();
    void start();

    BlockLayer& layer() const { return layer_; }
    JobType type() const { return type_; }
    const std::string& id() const { return id_; }
    JobStatus status() const { return status_; }
    bool auto_finalize() const { return auto_finalize_; }
    bool auto_dismiss() const { return auto_dismiss_; }
    bool busy() const { return busy_; }  // its fiber is neither asleep nor paused
    bool is_paused() const { return pause_count_ > 0; }
    bool user_paused() const { return user_paused_; }
    bool is_ready() const { return status_ == JobStatus::ready || status_ == JobStatus::standby; }
    bool is_completed() const;         // its work is over, well or not
    bool cancel_requested() const { return cancelled_; }
    bool is_cancelled() const { return force_cancelled_; }  // without a result
    bool fiber_ended() const { return fiber_ended_; }
    const Status& result() const { return result_; }
    std::uint64_t progress_done() const { return progress_done_; }
    std::uint64_t progress_total() const { return progress_total_; }
    virtual BlockJob* as_block_job() { return nullptr; }

    // ---- verbs: refused where the status does not allow them ---------------------------------
    Status user_pause();
    Status user_resume();
    Status user_cancel(sim::Co& co, bool force);
    Status user_complete(sim::Co& co);
    Status user_finalize(sim::Co& co);
    Status user_dismiss();

    // ---- pausing, by anybody -----------------------------------------------------------------
    void pause();   // from the next pause point on
    void resume();  // one pause less
    void enter();   // out of its sleep or its pause; nothing while it is busy
    // Asks it to end; what has its result stays what it is. Completion follows.
    void cancel(sim::Co& co, bool force);
    // Suspends until it is concluded.
    void wait_concluded(sim::Co& co);

    // EdgeParent
    std::string describe() const override;
    std::string describe_2_9() const override { return describe(); }
    Job* as_job() override { return this; }
    void drained_begin(Edge&) override { pause(); }
    void drained_end(Edge&) override { resume(); }
    bool busy(const Edge& edge) const override;

protected:
    // The work, in a fiber of its own.
    virtual Status run(sim::Co& co) = 0;
    // Last chance to fail, when all of the transaction succeeded; then commit or abort, then clean.
    virtual Status prepare(sim::Co&) { return {}; }
    virtual void commit(sim::Co&) {}
    virtual void abort(sim::Co&) {}
    virtual void clean(sim::Co&) {}
    // Before it stands still at a pause point.
    virtual void before_pause(sim::Co&) {}
    // The user resumed it.
    virtual void on_user_resume() {}
    // Whether the job gives up for this request; false: it ends as soon as it can, with a result.
    virtual bool on_cancel(bool force) { return force || true; }
    virtual bool can_complete() const { return false; }
    virtual Status on_complete(sim::Co&) { return {}; }
    // Would its end, with its result or without, leave users that clash? Then a verb that leads
    // there is refused, and nothing has happened.
    virtual Status check_end(bool /*with_result*/) { return {}; }
    // What a client hears besides changes of status.
    virtual void on_pending() {}
    virtual void on_concluded() {}
    // It is about to be forgotten.
    virtual void on_dismiss() {}
    // Requests of its own besides those of its fiber.
    virtual bool has_requests() const { return false; }

    // ---- for run() ---------------------------------------------------------------------------
    // Stands still here while somebody wants it to.
    void pause_point(sim::Co& co);
    // Suspends for that long, or until entered; then a pause point.
    void sleep(sim::Co& co, sim::Duration duration);
    // Suspends until entered; then a pause point.
    void idle(sim::Co& co);
    void set_ready();  // and a pause point's status from now on is standby
    void set_progress_left(std::uint64_t bytes) { progress_total_ = progress_done_ + bytes; }
    void add_progress_left(std::uint64_t bytes) { progress_total_ += bytes; }
    // What was there in the end may be more than what was foreseen.
    void advance_progress(std::uint64_t bytes) { progress_done_ += bytes; }
    // Pauses it as the user would.
    void pause_for_user();
    bool asleep() const { return timer_.armed(); }
    void set_status(JobStatus next);

private:
    friend class JobTransaction;
    friend class JobList;
    Status check_verb(JobVerb verb) const;
    bool should_pause() const { return pause_count_ > 0; }
    void suspend(sim::Co& co);
    void completed(sim::Co& co);     // its own event after run()
    void settle_result();
    void cancel_now(bool force);     // notes the request and lets it go on
    void finalize_single(sim::Co& co);
    void conclude();
    void dismiss();

    BlockLayer& layer_;
    JobType type_;
    std::string id_;
    bool auto_finalize_, auto_dismiss_;
    JobStatus status_ = JobStatus::undefined;
    std::shared_ptr<JobTransaction> transaction_;
    std::uint64_t pause_count_ = 1;  // released by start()
    bool user_paused_ = false;
    bool paused_ = false;  // stands at a pause point
    bool busy_ = false;
    bool turn_due_ = false;  // made ready, and did not run yet
    bool started_ = false;
    bool fiber_ended_ = false;
    bool cancelled_ = false;        // asked to end
    bool force_cancelled_ = false;  // without a result
    Status result_;
    std::uint64_t progress_done_ = 0, progress_total_ = 0;
    sim::WaitQueue entered_{"job to be entered"};
    sim::WaitQueue fiber_over_{"job to end its work"};
    sim::WaitQueue concluded_{"job to conclude"};
    sim::Timer timer_;
};

// All jobs of a layer, newest first.
class JobList {
public:
    JobList() = default;
    JobList(const JobList&) = delete;
    JobList& operator=(const JobList&) = delete;
    ~JobList();
    const std::vector<std::shared_ptr<Job>>& all() const { return jobs_; }
    Job* find(std::string_view id) const;  // nullptr: none
    // Cancels everything and waits until it is over.
    void cancel_all(sim::Co& co);
    // Has a job been started or entered that has not had its turn yet?
    bool turn_due() const;

private:
    friend class Job;
    std::vector<std::shared_ptr<Job>> jobs_;
};

// Jobs that share one verdict: all are committed, or all are aborted.
class JobTransaction {
public:
    void add(std::shared_ptr<Job> job);
    const std::vector<std::shared_ptr<Job>>& jobs() const { return jobs_; }

private:
    friend class Job;
    void member_succeeded(sim::Co& co, Job& job);
    void finalize(sim::Co& co, Job& asked);
    void abort(sim::Co& co, Job& failed);

    std::vector<std::shared_ptr<Job>> jobs_;
    bool aborting_ = false;
};

}  // namespace blocklayer
