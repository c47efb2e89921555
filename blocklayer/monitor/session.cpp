// SPDX-License-Identifier: Apache-2.0
// Deep values stay off the fibers' small stacks: ids are turned into text where they are parsed,
// and a request's arguments are dropped where the next text is fed.
#include "blocklayer/monitor/session.hpp"

#include <fmt/format.h>

#include <deque>
#include <optional>
#include <vector>

#include "blocklayer/monitor/command.hpp"
#include "blocklayer/monitor/json.hpp"
#include "blocklayer/monitor/version.hpp"
#include "sim/mutant.hpp"
#include "sim/sync.hpp"

namespace blocklayer {
namespace {

constexpr std::string_view quit_key = "quit requested";

struct Request {
    std::string id;              // as JSON; empty: none
    std::optional<Error> fault;  // found before it could be run
    std::string command;
    Value arguments;
    bool out_of_band = false;
};

Error not_found(std::string text) {
    return {.error_class = ErrorClass::command_not_found, .text = std::move(text)};
}

// Members are looked at in the wire's order; the first fault counts.
std::optional<Error> read_members(const Value& input, bool oob_enabled, Request& request) {
    const auto fault = [](std::string_view member, std::string_view what) {
        return Error{.text = fmt::format("QMP input member '{}' {}", member, what)};
    };
    std::string_view execute;
    for (const Value::Member* member : wire_order(input)) {
        const auto& [name, value] = *member;
        if (name == "id") continue;
        if (name == "execute" || (name == "exec-oob" && oob_enabled)) {
            if (!value.is_string()) return fault(name, "must be a string");
            if (!execute.empty()) return fault(name, fmt::format("clashes with '{}'", execute));
            execute = name;
            request.command = value.as_string();
            request.out_of_band = name == "exec-oob";
        } else if (name == "arguments") {
            if (!value.is_dict()) return fault(name, "must be an object");
        } else {
            return fault(name, "is unexpected");
        }
    }
    if (execute.empty()) return Error{.text = "QMP input lacks member 'execute'"};
    return std::nullopt;
}

Request make_request(Result<Value> input, bool oob_enabled) {
    Request request;
    if (!input) {
        request.fault = std::move(input).error();
    } else if (!input->is_dict()) {
        request.fault = Error{.text = "QMP input must be a JSON object"};
    } else {
        if (const Value* id = input->find("id")) request.id = to_json(*id);
        request.fault = read_members(*input, oob_enabled, request);
        if (Value* arguments = input->find("arguments")) request.arguments = std::move(*arguments);
    }
    return request;
}

}  // namespace

std::string_view error_class_name(ErrorClass error_class) {
    switch (error_class) {
    case ErrorClass::generic: return "GenericError";
    case ErrorClass::command_not_found: return "CommandNotFound";
    case ErrorClass::device_not_active: return "DeviceNotActive";
    case ErrorClass::device_not_found: return "DeviceNotFound";
    case ErrorClass::kvm_missing_cap: return "KVMMissingCap";
    }
    return "GenericError";
}

std::shared_ptr<sim::Mutex> command_dispatcher(BlockLayer& layer) {
    return layer.control_lock();
}

struct Session::State : std::enable_shared_from_this<State> {
    State(BlockLayer& block_layer, Output out, SessionOptions session_options)
        : layer(block_layer),
          output(std::move(out)),
          options(session_options),
          dispatch(command_dispatcher(block_layer)),
          reader([this](Result<Value> input) { arrived(std::move(input)); }) {}

    void send(std::string line) {
        if (output) output(line += "\r\n");
    }

    void reply(const Request& request, const Result<Value>& result) {
        const std::string id = request.id.empty() ? "" : fmt::format("\"id\": {}", request.id);
        if (result) {
            const std::string value = to_json(result->is_null() ? Value::dict() : *result);
            return send(fmt::format("{{\"return\": {}{}{}}}", value, id.empty() ? "" : ", ", id));
        }
        const Error& error = result.error();
        const std::string about = to_json(Value::dict(
            {{"class", Value(error_class_name(error.error_class))}, {"desc", Value(error.text)}}));
        send(fmt::format("{{{}{}\"error\": {}}}", id, id.empty() ? "" : ", ", about));
    }

    void arrived(Result<Value> input) {
        Request request = make_request(std::move(input), oob_enabled);
        if (request.out_of_band && !request.fault) return reply(request, refuse_oob(request));
        queue.push_back(std::move(request));
        if (running) return;
        running = true;
        layer.world().spawn(layer.world().main_thread(), "qmp command",
                            [self = shared_from_this()](sim::Co& co) { self->run_queue(co); });
    }

    static Result<Value> refuse_oob(const Request& request) {
        if (find_command(request.command) == nullptr && request.command != "qmp_capabilities")
            return Unexpected(
                not_found(fmt::format("The command {} has not been found", request.command)));
        return failure(fmt::format("The command {} does not support OOB", request.command));
    }

    void run_queue(sim::Co& co) {
        while (!queue.empty()) {
            // Nothing is answered any more after quit.
            if (quit_requested(layer)) queue.clear();
            if (queue.empty()) break;
            sim::MutexLock lock(co, *dispatch);
            done.push_back(std::move(queue.front()));
            queue.pop_front();
            const Request& request = done.back();
            busy = true;
            reply(request, run(co, request));
            busy = false;
            lock.unlock();
            // What else is ready has its turn between two commands, completions of jobs above all.
            if (!queue.empty()) co.yield("next command");
        }
        running = false;
    }

    Result<Value> run(sim::Co& co, const Request& request) {
        if (request.fault) return Unexpected(*request.fault);
        if (request.command == "qmp_capabilities") return negotiate(request.arguments);
        if (!negotiated)
            return Unexpected(
                not_found("Expecting capabilities negotiation with 'qmp_capabilities'"));
        return execute(co, layer, request.command, request.arguments);
    }

    Result<Value> negotiate(const Value& arguments) {
        if (negotiated)
            return Unexpected(
                not_found("Capabilities negotiation is already complete, command ignored"));
        const Value given = arguments.is_null() ? Value::dict() : arguments;
        const CommandSpec* spec = find_command("qmp_capabilities");
        TRY(check_members(given, spec->args));
        // "oob" is the only one there is, or the check would have said so.
        const Value* enable = given.find("enable");
        oob_enabled = enable != nullptr && !enable->items().empty();
        negotiated = true;
        return Value::dict();
    }

    void event(const QmpEvent& event) {
        if (!negotiated && !sim::mutant<"qmp: events before the negotiation">()) return;
        const std::int64_t us = (options.epoch_ns + event.at.ns) / 1000;
        Value line = Value::dict({{"event", Value(event.name.name())}});
        if (!event.data.is_null()) line.set("data", event.data);
        line.set("timestamp", Value::dict({{"seconds", Value(us / 1'000'000)},
                                           {"microseconds", Value(us % 1'000'000)}}));
        send(to_json(line));
    }

    BlockLayer& layer;
    Output output;
    SessionOptions options;
    std::shared_ptr<sim::Mutex> dispatch;
    JsonReader reader;
    std::deque<Request> queue;
    std::deque<Request> done;  // dropped where the next text is fed
    bool running = false;      // a fiber serves the queue
    bool busy = false;         // it is inside a command
    bool negotiated = false;
    bool oob_enabled = false;
};

Session::Session(BlockLayer& layer, Output output, SessionOptions options)
    : state_(std::make_shared<State>(layer, std::move(output), options)) {
    const auto tell = [weak = std::weak_ptr(state_)](const std::shared_ptr<const QmpEvent>& event) {
        if (const auto state = weak.lock()) state->event(*event);
    };
    layer.add_event_sink(tell);
    state_->send(to_json(
        Value::dict({{"QMP", Value::dict({{"version", version_info()},
                                          {"capabilities", Value::list({Value("oob")})}})}})));
}

Session::~Session() {
    state_->output = nullptr;
    if (!sim::mutant<"qmp: what a lost client wanted is done">()) state_->queue.clear();
}

void Session::feed(std::string_view text) {
    if (!state_->busy) state_->done.clear();
    state_->reader.feed(text);
}

void Session::end_of_input() { state_->reader.end_of_input(); }

std::size_t Session::pending() const { return state_->queue.size() + (state_->busy ? 1 : 0); }

void request_quit(BlockLayer& layer) { layer.extensions[std::string(quit_key)] = true; }

bool quit_requested(const BlockLayer& layer) {
    return layer.extensions.contains(std::string(quit_key));
}

}  // namespace blocklayer
