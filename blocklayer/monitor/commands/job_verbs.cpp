// SPDX-License-Identifier: Apache-2.0
// job-pause ... job-dismiss for every job, block-job-pause ... for those that work on nodes.
#include <fmt/format.h>

#include "blocklayer/jobs/block_job.hpp"
#include "blocklayer/layer.hpp"
#include "blocklayer/monitor/command.hpp"

namespace blocklayer {
namespace {

using JobRef = std::shared_ptr<Job>;

Result<JobRef> find_job(BlockLayer& layer, const Value& arguments) {
    if (Job* job = layer.jobs().find(arguments.at("id").as_string()))
        return job->shared_from_this();
    return failure("Job not found");
}

Result<JobRef> find_block_job(BlockLayer& layer, const std::string& id) {
    Job* job = layer.jobs().find(id);
    if (job != nullptr && job->as_block_job() != nullptr) return job->shared_from_this();
    return Unexpected(Error{.error_class = ErrorClass::device_not_active,
                            .text = fmt::format("Block job '{}' not found", id)});
}

Result<Value> nothing(Status status) {
    TRY(std::move(status));
    return Value();
}

Result<Value> job_pause(sim::Co&, BlockLayer& layer, const Value& arguments) {
    return nothing(TRY(find_job(layer, arguments))->user_pause());
}
Result<Value> job_resume(sim::Co&, BlockLayer& layer, const Value& arguments) {
    return nothing(TRY(find_job(layer, arguments))->user_resume());
}
Result<Value> job_cancel(sim::Co& co, BlockLayer& layer, const Value& arguments) {
    return nothing(TRY(find_job(layer, arguments))->user_cancel(co, /*force=*/true));
}
Result<Value> job_complete(sim::Co& co, BlockLayer& layer, const Value& arguments) {
    return nothing(TRY(find_job(layer, arguments))->user_complete(co));
}
Result<Value> job_finalize(sim::Co& co, BlockLayer& layer, const Value& arguments) {
    return nothing(TRY(find_job(layer, arguments))->user_finalize(co));
}
Result<Value> job_dismiss(sim::Co&, BlockLayer& layer, const Value& arguments) {
    return nothing(TRY(find_job(layer, arguments))->user_dismiss());
}

Result<JobRef> device_job(BlockLayer& layer, const Value& arguments) {
    return find_block_job(layer, arguments.at("device").as_string());
}
Result<JobRef> id_job(BlockLayer& layer, const Value& arguments) {
    return find_block_job(layer, arguments.at("id").as_string());
}

Result<Value> block_job_pause(sim::Co&, BlockLayer& layer, const Value& arguments) {
    return nothing(TRY(device_job(layer, arguments))->user_pause());
}
Result<Value> block_job_resume(sim::Co&, BlockLayer& layer, const Value& arguments) {
    return nothing(TRY(device_job(layer, arguments))->user_resume());
}
Result<Value> block_job_cancel(sim::Co& co, BlockLayer& layer, const Value& arguments) {
    const JobRef job = TRY(device_job(layer, arguments));
    const bool force = arguments.get_bool("force", false);
    if (job->user_paused() && !force)
        return failure(fmt::format("The block job for device '{}' is currently paused",
                                   arguments.at("device").as_string()));
    return nothing(job->user_cancel(co, force));
}
Result<Value> block_job_complete(sim::Co& co, BlockLayer& layer, const Value& arguments) {
    return nothing(TRY(device_job(layer, arguments))->user_complete(co));
}
Result<Value> block_job_set_speed(sim::Co&, BlockLayer& layer, const Value& arguments) {
    const JobRef job = TRY(device_job(layer, arguments));
    return nothing(job->as_block_job()->user_set_speed(arguments.at("speed").as_int()));
}
Result<Value> block_job_finalize(sim::Co& co, BlockLayer& layer, const Value& arguments) {
    return nothing(TRY(id_job(layer, arguments))->user_finalize(co));
}
Result<Value> block_job_dismiss(sim::Co&, BlockLayer& layer, const Value& arguments) {
    return nothing(TRY(id_job(layer, arguments))->user_dismiss());
}

CommandSpec by_id(std::string name, CommandFn run) {
    return {.name = std::move(name),
            .args = {required("id", "str")},
            .run = run,
            .source = "QAPI job.json, block-core.json"};
}

CommandSpec by_device(std::string name, CommandFn run, std::vector<MemberSpec> more = {}) {
    std::vector<MemberSpec> args{required("device", "str")};
    args.insert(args.end(), more.begin(), more.end());
    return {.name = std::move(name),
            .args = std::move(args),
            .run = run,
            .source = "QAPI block-core.json"};
}

const CommandRegistration registrations[] = {
    CommandRegistration(by_id("job-pause", job_pause)),
    CommandRegistration(by_id("job-resume", job_resume)),
    CommandRegistration(by_id("job-cancel", job_cancel)),
    CommandRegistration(by_id("job-complete", job_complete)),
    CommandRegistration(by_id("job-finalize", job_finalize)),
    CommandRegistration(by_id("job-dismiss", job_dismiss)),
    CommandRegistration(by_device("block-job-pause", block_job_pause)),
    CommandRegistration(by_device("block-job-resume", block_job_resume)),
    CommandRegistration(
        by_device("block-job-cancel", block_job_cancel, {optional("force", "bool")})),
    CommandRegistration(by_device("block-job-complete", block_job_complete)),
    CommandRegistration(
        by_device("block-job-set-speed", block_job_set_speed, {required("speed", "int")})),
    CommandRegistration(by_id("block-job-finalize", block_job_finalize)),
    CommandRegistration(by_id("block-job-dismiss", block_job_dismiss)),
};

}  // namespace
}  // namespace blocklayer
