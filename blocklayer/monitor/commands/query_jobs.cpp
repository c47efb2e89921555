// SPDX-License-Identifier: Apache-2.0
// query-jobs and query-block-jobs, and the events that jobs send.
#include "blocklayer/jobs/block_job.hpp"
#include "blocklayer/layer.hpp"
#include "blocklayer/monitor/command.hpp"

namespace blocklayer {
namespace {

std::string_view wire_name(IoStatusFlag status) {
    switch (status) {
    case IoStatusFlag::ok: return "ok";
    case IoStatusFlag::failed: return "failed";
    case IoStatusFlag::nospace: return "nospace";
    }
    return "ok";
}

// Told once the job's end is decided.
void set_error(Value& info, const Job& job) {
    if (job.is_completed() && !job.result()) info.set("error", job.result().error().text);
}

Value job_info(const Job& job) {
    Value info = Value::dict({{"id", Value(job.id())},
                              {"type", Value(wire_name(job.type()))},
                              {"status", Value(wire_name(job.status()))},
                              {"current-progress", Value(job.progress_done())},
                              {"total-progress", Value(job.progress_total())}});
    set_error(info, job);
    return info;
}

Value block_job_info(const BlockJob& job) {
    Value info = Value::dict({{"type", Value(wire_name(job.type()))},
                              {"device", Value(job.id())},
                              {"len", Value(job.progress_total())},
                              {"offset", Value(job.progress_done())},
                              {"busy", Value(job.busy())},
                              {"paused", Value(job.is_paused())},
                              {"speed", Value(job.speed())},
                              {"io-status", Value(wire_name(job.io_status()))},
                              {"ready", Value(job.is_ready())},
                              {"status", Value(wire_name(job.status()))},
                              {"auto-finalize", Value(job.auto_finalize())},
                              {"auto-dismiss", Value(job.auto_dismiss())}});
    set_error(info, job);
    return info;
}

Result<Value> query_jobs(sim::Co&, BlockLayer& layer, const Value&) {
    Value list = Value::list();
    for (const auto& job : layer.jobs().all()) list.push(job_info(*job));
    return list;
}

Result<Value> query_block_jobs(sim::Co&, BlockLayer& layer, const Value&) {
    Value list = Value::list();
    for (const auto& job : layer.jobs().all())
        if (const BlockJob* block_job = job->as_block_job()) list.push(block_job_info(*block_job));
    return list;
}

const TypeRegistration job_info_type(
    {.name = "JobInfo",
     .members = {required("id", "str"), required("type", "JobType"),
                 required("status", "JobStatus"), required("current-progress", "int"),
                 required("total-progress", "int"), optional("error", "str")}});
const TypeRegistration block_job_info_type(
    {.name = "BlockJobInfo",
     .members = {required("type", "str"), required("device", "str"), required("len", "int"),
                 required("offset", "int"), required("busy", "bool"), required("paused", "bool"),
                 required("speed", "int"), required("io-status", "BlockDeviceIoStatus"),
                 required("ready", "bool"), required("status", "JobStatus"),
                 required("auto-finalize", "bool"), required("auto-dismiss", "bool"),
                 optional("error", "str")}});

const CommandRegistration jobs({.name = "query-jobs",
                                .returns = "[JobInfo]",
                                .run = query_jobs,
                                .source = "QAPI job.json"});
const CommandRegistration block_jobs({.name = "query-block-jobs",
                                      .returns = "[BlockJobInfo]",
                                      .run = query_block_jobs,
                                      .source = "QAPI block-core.json"});

EventSpec progress_event(std::string name, std::vector<MemberSpec> more = {}) {
    std::vector<MemberSpec> data{required("type", "JobType"), required("device", "str"),
                                 required("len", "int"), required("offset", "int"),
                                 required("speed", "int")};
    data.insert(data.end(), more.begin(), more.end());
    return {std::move(name), std::move(data)};
}

const EventRegistration events[] = {
    EventRegistration({"JOB_STATUS_CHANGE",
                       {required("id", "str"), required("status", "JobStatus")}}),
    EventRegistration(progress_event("BLOCK_JOB_READY")),
    EventRegistration(progress_event("BLOCK_JOB_COMPLETED", {optional("error", "str")})),
    EventRegistration(progress_event("BLOCK_JOB_CANCELLED")),
    EventRegistration({"BLOCK_JOB_PENDING", {required("type", "JobType"), required("id", "str")}}),
    EventRegistration({"BLOCK_JOB_ERROR",
                       {required("device", "str"), required("operation", "IoOperationType"),
                        required("action", "BlockErrorAction")}}),
};

}  // namespace
}  // namespace blocklayer
