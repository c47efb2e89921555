// SPDX-License-Identifier: Apache-2.0
#include "blocklayer/jobs/block_job.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "blocklayer/layer.hpp"

namespace blocklayer {

OnError on_error_of(const Value& arguments, std::string_view name) {
    const std::string given = arguments.get_string(name, "report");
    if (given == "ignore") return OnError::ignore;
    if (given == "stop") return OnError::stop;
    if (given == "enospc") return OnError::enospc;
    return given == "auto" ? OnError::automatic : OnError::report;
}

BlockJob::~BlockJob() = default;

Result<NodeRef> BlockJob::make_filter(const std::optional<std::string>& name,
                                      const DriverSpec& spec, std::unique_ptr<Driver> driver,
                                      NodeFlags flags, const Node& over) {
    if (name && name->empty()) return failure("Invalid node-name: ''");
    NodeRef filter = TRY(layer().make_node(name.value_or(""), spec, std::move(driver), flags,
                                           /*implicit=*/!name, over.length()));
    layer().graph().set_never_freeze(*filter);
    return filter;
}

std::optional<std::string> optional_name(const Value& arguments, std::string_view member) {
    const Value* name = arguments.find(member);
    return name != nullptr ? std::optional(name->as_string()) : std::nullopt;
}

Status BlockJob::hold(std::string name, Node& node, Claim claim, Main main) {
    Edge* edge =
        TRY(layer().graph().attach_root(*this, node, std::move(name), EdgeClass::job, claim));
    edges_.insert(edges_.begin(), edge);
    const std::uint32_t open_to = main == Main::yes ? std::uint32_t{op_dataplane} : 0;
    std::string reason;
    reason.reserve(64);
    reason.append("block device is in use by block job: ").append(wire_name(type()));
    close_to(node, op_all & ~open_to, std::move(reason), edge);
    return {};
}

void BlockJob::close_to(Node& node, std::uint32_t operations, std::string reason,
                        const void* owner) {
    node.op_blockers().push_back(
        {.operations = operations, .reason = std::move(reason), .owner = owner});
}

void BlockJob::open_again(Node& node, const void* owner) {
    std::erase_if(node.op_blockers(),
                  [&](const OpBlocker& blocker) { return blocker.owner == owner; });
}

void BlockJob::let_go(Node& node) {
    const std::vector<Edge*> edges = edges_;
    for (Edge* edge : edges) {
        if (&edge->child() != &node) continue;
        std::erase(edges_, edge);
        open_again(node, edge);
        layer().graph().detach(*edge);
    }
}

void BlockJob::let_go() {
    while (!edges_.empty()) {
        const NodeRef node(&edges_.front()->child());
        let_go(*node);
    }
}

Status BlockJob::set_speed(std::int64_t speed) {
    if (speed < 0) return failure("Parameter 'speed' expects a non-negative value");
    const std::uint64_t before = limit_.speed();
    const auto after = static_cast<std::uint64_t>(speed);
    limit_.set_speed(after);
    // A faster job need not sleep out what the slower one owed.
    if ((after == 0 || after > before) && asleep()) enter();
    return {};
}

Status BlockJob::user_set_speed(std::int64_t speed) {
    if (!accepts(status(), JobVerb::set_speed))
        return failure(fmt::format("Job '{}' in state '{}' cannot accept command verb '{}'", id(),
                                   wire_name(status()), wire_name(JobVerb::set_speed)));
    return set_speed(speed);
}

ErrorAction BlockJob::error_action(OnError policy, bool is_read, Errno error) {
    const bool full = error == Errno::no_space;
    if (policy == OnError::enospc || policy == OnError::automatic)
        policy = full ? OnError::stop : OnError::report;
    const ErrorAction action = policy == OnError::stop     ? ErrorAction::stop
                               : policy == OnError::ignore ? ErrorAction::ignore
                                                           : ErrorAction::report;
    const std::string_view action_name = action == ErrorAction::stop     ? "stop"
                                         : action == ErrorAction::ignore ? "ignore"
                                                                         : "report";
    layer().emit_event("BLOCK_JOB_ERROR",
                       Value::dict({{"device", Value(id())},
                                    {"operation", Value(is_read ? "read" : "write")},
                                    {"action", Value(action_name)}}));
    if (action == ErrorAction::stop) {
        pause_for_user();
        if (io_status_ == IoStatusFlag::ok)
            io_status_ = full ? IoStatusFlag::nospace : IoStatusFlag::failed;
    }
    return action;
}

sim::Duration BlockJob::account(std::uint64_t bytes) {
    return limit_.account(layer().world().now(), bytes);
}

Value BlockJob::event_data() const {
    return Value::dict({{"type", Value(wire_name(type()))},
                        {"device", Value(id())},
                        {"len", Value(progress_total())},
                        {"offset", Value(progress_done())},
                        {"speed", Value(speed())}});
}

void BlockJob::on_pending() {
    layer().emit_event("BLOCK_JOB_PENDING", Value::dict({{"type", Value(wire_name(type()))},
                                                         {"id", Value(id())}}));
}

void BlockJob::on_concluded() {
    if (is_cancelled()) {
        layer().emit_event("BLOCK_JOB_CANCELLED", event_data());
        return;
    }
    Value data = event_data();
    if (!result()) data.set("error", result().error().text);
    layer().emit_event("BLOCK_JOB_COMPLETED", std::move(data));
}

}  // namespace blocklayer
