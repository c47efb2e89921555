// SPDX-License-Identifier: Apache-2.0
// BlockJob: a job that works on nodes. It holds them by edges of class job, closes them to other
// operations meanwhile, has a speed and an error policy, and says BLOCK_JOB_* events.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "blocklayer/graph/backend.hpp"
#include "blocklayer/jobs/job.hpp"
#include "blocklayer/jobs/rate_limit.hpp"

namespace blocklayer {

enum class IoStatusFlag : std::uint8_t { ok, failed, nospace };

// The member's text; nothing where it is absent.
std::optional<std::string> optional_name(const Value& arguments, std::string_view member);
OnError on_error_of(const Value& arguments, std::string_view name);

class BlockJob : public Job {
public:
    using Job::Job;
    ~BlockJob() override;

    BlockJob* as_block_job() override { return this; }
    std::uint64_t speed() const { return limit_.speed(); }
    IoStatusFlag io_status() const { return io_status_; }
    const std::vector<Edge*>& edges() const { return edges_; }  // newest first
    // errors: Job 'x' in state ... ; Parameter 'speed' expects a non-negative value
    Status user_set_speed(std::int64_t speed);
    // The same without a look at the status, while the job is being made.
    Status set_speed(std::int64_t speed);

protected:
    // A filter of the job's own, without a child yet; implicit when the user has no name for it.
    Result<NodeRef> make_filter(const std::optional<std::string>& name, const DriverSpec& spec,
                                std::unique_ptr<Driver> driver, NodeFlags flags, const Node& over);
    // Holds the node by an edge of that name, and closes it to all operations.
    enum class Main : bool { no, yes };  // yes: the node the job is about
    Status hold(std::string name, Node& node, Claim claim, Main main = Main::no);
    // Operations of the older blockers that are refused meanwhile, with this reason.
    static void close_to(Node& node, std::uint32_t operations, std::string reason,
                         const void* owner);
    static void open_again(Node& node, const void* owner);
    void let_go();  // of all nodes
    void let_go(Node& node);

    // What an error of a request leads to, told to clients; stop: the job pauses for the user.
    ErrorAction error_action(OnError policy, bool is_read, Errno error);
    // What is told of a failure at the job's end: its errno alone.
    static Status by_errno(const Status& status) {
        if (status) return {};
        return errno_failure(status.error().code);
    }
    // Notes bytes against the speed: how long to wait.
    sim::Duration account(std::uint64_t bytes);

    void on_dismiss() override { let_go(); }
    void on_user_resume() override { io_status_ = IoStatusFlag::ok; }
    void on_pending() override;
    void on_concluded() override;
    Value event_data() const;

private:
    std::vector<Edge*> edges_;
    RateLimit limit_;
    IoStatusFlag io_status_ = IoStatusFlag::ok;
};

}  // namespace blocklayer
