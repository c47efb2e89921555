// SPDX-License-Identifier: Apache-2.0
// The object iothread: a simulated thread for devices; and query-iothreads.
//
// source  QAPI IothreadProperties, misc.json
#include <fmt/format.h>

#include "blocklayer/layer.hpp"
#include "blocklayer/monitor/command.hpp"
#include "blocklayer/monitor/iothread.hpp"
#include "blocklayer/monitor/object.hpp"

namespace blocklayer {
namespace {

struct Number {
    const char* name;
    std::int64_t IoThread::*member;
};
constexpr Number numbers[] = {
    // in the order qom-list has them
    {"thread-pool-min", &IoThread::thread_pool_min},
    {"aio-max-batch", &IoThread::aio_max_batch},
    {"thread-pool-max", &IoThread::thread_pool_max},
    {"poll-max-ns", &IoThread::poll_max_ns},
    {"poll-grow", &IoThread::poll_grow},
    {"poll-shrink", &IoThread::poll_shrink},
};

const TypeRegistration info(
    {.name = "IOThreadInfo",
     .members = {required("id", "str"), required("thread-id", "int"),
                 required("poll-max-ns", "int"), required("poll-grow", "int"),
                 required("poll-shrink", "int"), required("aio-max-batch", "int")}});

Status check_number(const char* name, std::int64_t value) {
    if (value >= 0) return {};
    return failure(fmt::format("{} value must be in range [0, {}]", name, INT64_MAX));
}

std::vector<MemberSpec> options() {
    std::vector<MemberSpec> members;
    for (const Number& number : numbers) members.push_back(optional(number.name, "int"));
    return members;
}

Status create(BlockLayer& layer, const std::string& id, const Value& options) {
    IoThread made{.id = id, .thread = nullptr};
    for (const Number& number : numbers)
        if (const Value* value = options.find(number.name)) {
            TRY(check_number(number.name, value->as_int()));
            made.*number.member = value->as_int();
        }
    if (made.thread_pool_max == 0 || made.thread_pool_min > made.thread_pool_max)
        return failure("bad thread-pool-min/thread-pool-max values");
    made.thread = &layer.world().add_thread(id, sim::ThreadKind::iothread);
    iothreads(layer).push_back(std::move(made));
    return {};
}

bool in_use(BlockLayer&, std::string_view) { return false; }

// Devices that run in it go on doing so: the simulated thread itself stays.
void remove(BlockLayer& layer, std::string_view id) {
    iothreads(layer).remove_if([&](const IoThread& thread) { return thread.id == id; });
}

Result<Value> query_iothreads(sim::Co&, BlockLayer& layer, const Value&) {
    Value list = Value::list();
    for (const IoThread& thread : iothreads(layer))
        list.push(Value::dict({{"id", Value(thread.id)},
                               {"thread-id", Value(thread.thread->index())},
                               {"poll-max-ns", Value(thread.poll_max_ns)},
                               {"poll-grow", Value(thread.poll_grow)},
                               {"poll-shrink", Value(thread.poll_shrink)},
                               {"aio-max-batch", Value(thread.aio_max_batch)}}));
    return list;
}

QomObject describe(BlockLayer& layer, std::string_view id) {
    IoThread& thread = *find_iothread(layer, id);
    QomObject object{.type = "iothread"};
    for (const Number& number : numbers) {
        std::int64_t* place = &(thread.*number.member);
        object.properties.push_back(
            {.name = number.name,
             .type = "int",
             .get = [place] { return Result<Value>(Value(*place)); },
             .set = [place, name = number.name](sim::Co&, const Value& value) -> Status {
                 TRY(check_value(value, "int", name));
                 TRY(check_number(name, value.as_int()));
                 *place = value.as_int();
                 return {};
             }});
    }
    return object;
}

const ObjectRegistration registration({.name = "iothread",
                                       .options = options(),
                                       .create = create,
                                       .in_use = in_use,
                                       .remove = remove,
                                       .describe = describe});
const CommandRegistration query({.name = "query-iothreads",
                                 .returns = "[IOThreadInfo]",
                                 .run = query_iothreads,
                                 .source = "QAPI misc.json"});

}  // namespace
}  // namespace blocklayer
