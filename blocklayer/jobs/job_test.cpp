// SPDX-License-Identifier: Apache-2.0
// Holds:   a job's status changes only as the table allows, each verb works in exactly the
//          statuses it may, jobs of one transaction share one verdict, and speed is kept.
// Method:  jobs whose work the test steers, brought into every status and given every verb; the
//          expected table is that of the real program (docs of its job.json, confirmed by runs).
#include "blocklayer/jobs/job.hpp"

#include "blocklayer/graph/drain.hpp"
#include "blocklayer/jobs/block_job.hpp"
#include "blocklayer/jobs/rate_limit.hpp"
#include "blocklayer/testing/job_fixture.hpp"
#include "sim/testing/catch.hpp"

namespace blocklayer {
namespace {

using testing::JobFixture;
using testing::perms;

// Does what the test says, and notes what is asked of it.
class SteeredJob final : public BlockJob {
public:
    SteeredJob(BlockLayer& layer, JobOptions options)
        : BlockJob(layer, JobType::mirror, std::move(options)) {}

    Status run(sim::Co& co) override {
        while (!done && !is_cancelled()) {
            pause_point(co);
            if (is_cancelled() || done) break;
            if (become_ready && !is_ready()) set_ready();
            if (should_complete) break;
            idle(co);
        }
        return fails ? failure("it broke", Errno::io) : Status();
    }
    Status prepare(sim::Co&) override {
        calls += "p";
        return prepare_fails ? failure("no way", Errno::perm) : Status();
    }
    void commit(sim::Co&) override { calls += "c"; }
    void abort(sim::Co& co) override {
        calls += "a";
        while (hold_abort) released.wait(co);
    }
    void clean(sim::Co&) override { calls += "-"; }
    bool on_cancel(bool force) override { return force || !is_ready(); }
    bool can_complete() const override { return is_ready(); }
    Status on_complete(sim::Co&) override {
        should_complete = true;
        enter();
        return {};
    }
    Status hold_node(Node& node, Claim claim) { return hold("main node", node, claim); }
    void finish() {
        done = true;
        enter();
    }

    bool become_ready = false, done = false, fails = false, prepare_fails = false;
    bool should_complete = false, hold_abort = false;
    std::string calls;
    sim::WaitQueue released{"the test"};
};

using JobPtr = std::shared_ptr<SteeredJob>;

JobPtr add_job(JobFixture& f, JobOptions options) {
    auto job = std::make_shared<SteeredJob>(f.layer, std::move(options));
    REQUIRE(Job::add(job));
    return job;
}

struct Lone {  // a job alone, and what keeps it in its status
    explicit Lone(JobStatus wanted);
    ~Lone();
    JobFixture f;
    JobPtr job, other;
};

// A job and its transaction hold each other until it is over.
Lone::~Lone() {
    if (other != nullptr) {
        other->hold_abort = false;
        other->released.wake_all();
    }
    f.run([&](sim::Co& co) { f.layer.jobs().cancel_all(co); });
}

Lone::Lone(JobStatus wanted) {
    JobOptions options{.id = "j", .auto_dismiss = false};
    options.auto_finalize = wanted != JobStatus::pending;
    if (wanted == JobStatus::waiting || wanted == JobStatus::aborting)
        options.transaction = std::make_shared<JobTransaction>();
    job = add_job(f, options);
    if (wanted == JobStatus::created) return;
    if (options.transaction != nullptr) {
        other = add_job(f, {.id = "other", .transaction = options.transaction});
        other->hold_abort = wanted == JobStatus::aborting;
        other->start();
    }
    job->become_ready = wanted == JobStatus::ready || wanted == JobStatus::standby;
    job->start();
    f.settle();
    if (wanted == JobStatus::paused || wanted == JobStatus::standby) {
        job->pause();
        f.settle();
    }
    if (wanted == JobStatus::aborting) job->fails = true;
    if (wanted >= JobStatus::waiting) job->finish();
    f.settle();
    if (wanted == JobStatus::aborting) {
        // The other one is cleaned up first, which takes its time.
        INFO(other->calls);
    }
    if (wanted == JobStatus::null) REQUIRE(job->user_dismiss());
    REQUIRE(job->status() == wanted);
}

constexpr JobStatus all_statuses[] = {JobStatus::created, JobStatus::running,  JobStatus::paused,
                                      JobStatus::ready,   JobStatus::standby,  JobStatus::waiting,
                                      JobStatus::pending, JobStatus::aborting, JobStatus::concluded,
                                      JobStatus::null};

// By verb, one letter for each of all_statuses; y: may be used.
constexpr std::pair<JobVerb, std::string_view> verb_table[] = {
    {JobVerb::cancel, "yyyyyyy..."},   {JobVerb::pause, "yyyyy....."},
    {JobVerb::resume, "yyyyy....."},   {JobVerb::set_speed, "yyyyy....."},
    {JobVerb::complete, "...yy....."}, {JobVerb::finalize, "......y..."},
    {JobVerb::dismiss, "........y."}};

Status use(JobFixture& f, SteeredJob& job, JobVerb verb) {
    return f.run([&](sim::Co& co) -> Status {
        switch (verb) {
        case JobVerb::cancel: return job.user_cancel(co, /*force=*/true);
        case JobVerb::pause: return job.user_pause();
        case JobVerb::resume: return job.user_resume();
        case JobVerb::set_speed: return job.user_set_speed(5);
        case JobVerb::complete: return job.user_complete(co);
        case JobVerb::finalize: return job.user_finalize(co);
        case JobVerb::dismiss: return job.user_dismiss();
        }
        return {};
    });
}

TEST_CASE("job: every verb in every status", "[jobs]") {
    for (const auto& [verb, allowed] : verb_table) {
        for (std::size_t i = 0; i < std::size(all_statuses); ++i) {
            const JobStatus status = all_statuses[i];
            INFO(wire_name(verb) << " in " << wire_name(status));
            CHECK(accepts(status, verb) == (allowed[i] == 'y'));
            Lone lone(status);
            const Status answer = use(lone.f, *lone.job, verb);
            if (verb == JobVerb::resume) {
                CHECK(answer.error().text == "Can't resume a job that was not paused");
            } else if (allowed[i] == 'y') {
                CHECK(answer);
            } else {
                CHECK(answer.error().text ==
                      fmt::format("Job 'j' in state '{}' cannot accept command verb '{}'",
                                  wire_name(status), wire_name(verb)));
                CHECK(lone.job->status() == status);
            }
            if (lone.other != nullptr) {
                lone.other->hold_abort = false;
                lone.other->released.wake_all();
            }
        }
    }
}

TEST_CASE("job: which status may follow which", "[jobs]") {
    // Rows: from; columns: to; undefined first. source: the same documentation.
    constexpr JobStatus columns[] = {JobStatus::undefined, JobStatus::created, JobStatus::running,
                                     JobStatus::paused,    JobStatus::ready,   JobStatus::standby,
                                     JobStatus::waiting,   JobStatus::pending, JobStatus::aborting,
                                     JobStatus::concluded, JobStatus::null};
    constexpr std::string_view rows[] = {".y.........",  // undefined
                                         "..y.....y.y",  // created
                                         "...yy.y.y..",  // running
                                         "..y........",  // paused
                                         ".....yy.y..",  // ready
                                         "....y......",  // standby
                                         ".......yy..",  // waiting
                                         "........yy.",  // pending
                                         "........yy.",  // aborting
                                         "..........y",  // concluded
                                         "..........."};
    for (std::size_t from = 0; from < std::size(columns); ++from)
        for (std::size_t to = 0; to < std::size(columns); ++to) {
            INFO(wire_name(columns[from]) << " -> " << wire_name(columns[to]));
            CHECK(legal_next(columns[from], columns[to]) == (rows[from][to] == 'y'));
        }
}

TEST_CASE("job: what ids are good for", "[jobs]") {
    JobFixture f;
    for (const char* id : {"", "1a", "a b", "#a", "-a"}) {
        const Status added = Job::add(std::make_shared<SteeredJob>(f.layer, JobOptions{.id = id}));
        CHECK(added.error().text == fmt::format("Invalid job ID '{}'", id));
    }
    const JobPtr job = add_job(f, {.id = "a-1._b"});
    const Status again =
        Job::add(std::make_shared<SteeredJob>(f.layer, JobOptions{.id = "a-1._b"}));
    CHECK(again.error().text == "Job ID 'a-1._b' already in use");
    job->withdraw();
    CHECK(f.layer.jobs().all().empty());
    CHECK(f.told() == "created null");
}

TEST_CASE("job: automatic and manual ends", "[jobs]") {
    JobFixture f;
    const JobPtr by_itself = add_job(f, {.id = "a"});
    by_itself->start();
    by_itself->finish();
    f.settle();
    CHECK(f.told() == "created running waiting pending COMPLETED concluded null");
    CHECK(by_itself->calls == "pc-");

    const JobPtr by_hand = add_job(f, {.id = "b", .auto_finalize = false, .auto_dismiss = false});
    by_hand->start();
    by_hand->finish();
    f.settle();
    CHECK(f.told() == "created running waiting pending PENDING");
    CHECK(by_hand->calls.empty());
    f.qmp("job-finalize", {{"id", "b"}});
    CHECK(f.told() == "COMPLETED concluded");
    CHECK(by_hand->calls == "pc-");
    CHECK(f.qmp("query-jobs") == Value::list({Value::dict({{"id", "b"},
                                                           {"type", "mirror"},
                                                           {"status", "concluded"},
                                                           {"current-progress", 0},
                                                           {"total-progress", 0}})}));
    f.qmp("job-dismiss", {{"id", "b"}});
    CHECK(f.told() == "null");
}

TEST_CASE("job: failures and cancels undo", "[jobs]") {
    JobFixture f;
    const JobPtr failing = add_job(f, {.id = "a"});
    failing->fails = true;
    failing->start();
    failing->finish();
    f.settle();
    CHECK(f.told() == "created running aborting COMPLETED concluded null");
    CHECK(failing->calls == "a-");
    CHECK(f.events[3].data.at("error") == "it broke");

    const JobPtr refused = add_job(f, {.id = "b"});
    refused->prepare_fails = true;
    refused->start();
    refused->finish();
    f.settle();
    CHECK(f.told() == "created running waiting pending aborting COMPLETED concluded null");
    CHECK(refused->calls == "pa-");
    CHECK(refused->result().error().text == "no way");

    const JobPtr cancelled = add_job(f, {.id = "c"});
    cancelled->start();
    f.settle();
    f.qmp("job-cancel", {{"id", "c"}});
    f.settle();
    CHECK(f.told() == "created running aborting CANCELLED concluded null");
    CHECK(cancelled->calls == "a-");
    CHECK(cancelled->result().error().text == "Operation canceled");

    // Never started: nobody was told that it works, so nobody is told that it ended.
    const JobPtr unstarted = add_job(f, {.id = "d"});
    f.qmp("job-cancel", {{"id", "d"}});
    CHECK(f.told() == "created aborting concluded null");
    CHECK(unstarted->calls == "a-");
}

TEST_CASE("job: cancelled in the window before its completion", "[jobs]") {
    JobFixture f;
    const JobPtr job = add_job(f, {.id = "a"});
    job->start();
    f.settle();
    f.run([&](sim::Co& co) {
        const sim::MutexLock command(co, *f.layer.control_lock());
        job->finish();
        while (!job->fiber_ended()) co.yield("the job's end");
        CHECK(job->status() == JobStatus::running);
        job->cancel(co, /*force=*/true);
        CHECK(job->status() == JobStatus::running);
    });
    f.settle();
    CHECK(f.told() == "created running aborting CANCELLED concluded null");
    CHECK(job->calls == "a-");
}

TEST_CASE("job: one verdict for a transaction", "[jobs]") {
    const bool one_fails = GENERATE(false, true);
    JobFixture f;
    const auto transaction = std::make_shared<JobTransaction>();
    std::vector<JobPtr> jobs;
    for (const char* id : {"a", "b", "c"}) {
        jobs.push_back(add_job(f, {.id = id, .transaction = transaction}));
        jobs.back()->start();
    }
    f.settle();
    CHECK(f.told() == "created running created running created running");
    jobs[0]->finish();
    f.settle();
    CHECK(f.told() == "waiting");
    CHECK(jobs[0]->calls.empty());
    jobs[1]->fails = one_fails;
    jobs[1]->finish();
    f.settle();
    if (one_fails) {
        for (const JobPtr& job : jobs) {
            CHECK(job->calls == "a-");
            CHECK(job->status() == JobStatus::null);
        }
        CHECK(jobs[1]->result().error().text == "it broke");
        CHECK(jobs[0]->is_cancelled());
        CHECK(jobs[2]->is_cancelled());
        return;
    }
    jobs[2]->finish();
    f.settle();
    CHECK(f.told() ==
          "waiting waiting pending pending pending COMPLETED concluded null "
          "COMPLETED concluded null COMPLETED concluded null");
    for (const JobPtr& job : jobs) CHECK(job->calls == "pc-");
}

TEST_CASE("job: a failed preparation undoes all of the transaction", "[jobs]") {
    JobFixture f;
    const auto transaction = std::make_shared<JobTransaction>();
    const JobPtr good = add_job(f, {.id = "a", .transaction = transaction});
    const JobPtr bad = add_job(f, {.id = "b", .transaction = transaction});
    bad->prepare_fails = true;
    for (const JobPtr& job : {good, bad}) {
        job->start();
        job->finish();
    }
    f.settle();
    CHECK(good->calls.find('c') == std::string::npos);
    CHECK(good->calls.ends_with("a-"));
    CHECK(bad->calls == "pa-");
    CHECK(f.layer.jobs().all().empty());
}

TEST_CASE("job: pausing by the user and by drained sections", "[jobs]") {
    JobFixture f;
    Node& node = f.memory("n");
    const JobPtr job = add_job(f, {.id = "a"});
    REQUIRE(job->hold_node(node, {perms("C"), perms("CWU")}));
    job->start();
    f.settle();
    f.run([&](sim::Co& co) {
        const DrainedSection drained(co, node);
        CHECK(job->status() == JobStatus::paused);
        CHECK(job->user_pause());
        CHECK(job->user_pause().error().text == "Job is already paused");
    });
    f.settle();
    CHECK(job->status() == JobStatus::paused);  // still by the user
    CHECK(f.qmp_error("block-job-cancel", Value::dict({{"device", "a"}})) ==
          "The block job for device 'a' is currently paused");
    CHECK(job->user_resume());
    f.settle();
    CHECK(job->status() == JobStatus::running);
    CHECK(f.told() == "created running paused running");
    CHECK(job->user_pause());
    f.settle();
    f.qmp("block-job-cancel", {{"device", "a"}, {"force", true}});
    f.settle();
    CHECK(f.told() == "paused running aborting CANCELLED concluded null");
    CHECK(node.parents().empty());
    CHECK(node.op_blockers().empty());
    f.check();
}

TEST_CASE("job: a node it holds is closed to other operations", "[jobs]") {
    JobFixture f;
    Node& node = f.memory("n");
    const JobPtr job = add_job(f, {.id = "a"});
    REQUIRE(job->hold_node(node, {}));
    CHECK(f.qmp_error("block_resize", Value::dict({{"node-name", "n"}, {"size", 512}})) ==
          "Device '(null)' is in use");
    CHECK(f.qmp_error("blockdev-del", Value::dict({{"node-name", "n"}})) ==
          "Node 'n' is busy: block device is in use by block job: mirror");
    CHECK(f.try_attach(node, "-", "CUR") == "ok");
    job->start();
    f.layer.jobs().find("a");
    f.run([&](sim::Co& co) { f.layer.jobs().cancel_all(co); });
    CHECK(f.layer.check_blocked(node, op_resize));
    CHECK(f.layer.jobs().all().empty());
}

TEST_CASE("rate limit: what was granted pays for itself", "[jobs]") {
    constexpr std::uint64_t mib = 1024 * 1024;
    RateLimit limit;
    CHECK(limit.account(sim::Instant{0}, 1000 * mib) == sim::Duration{});
    limit.set_speed(4 * mib);  // measured on the real program: 1 MiB each 250 ms
    sim::Instant now{0};
    for (int i = 0; i < 4; ++i) {
        const sim::Duration wait = limit.account(now, mib);
        CHECK(wait.ns / 1000 == 250'000);
        now = now + wait;
    }
    limit.set_speed(mib);  // and two of 64 KiB each 125 ms
    now = now + sim::seconds(1);
    CHECK(limit.account(now, mib / 16) == sim::Duration{});
    CHECK(limit.account(now, mib / 16).ns / 1000 == 125'000);
    limit.set_speed(1);
    CHECK(limit.account(now + sim::seconds(1), UINT64_MAX) > sim::seconds(1'000'000));
    limit.set_speed(INT64_MAX);
    CHECK(limit.account(now + sim::seconds(1'000'000'000), UINT64_MAX) <= sim::seconds(4));
}

}  // namespace
}  // namespace blocklayer
