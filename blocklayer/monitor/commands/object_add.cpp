// SPDX-License-Identifier: Apache-2.0
// object-add, object-del, query-iothreads and the objects' place in the tree. The one kind of
// object there is so far is the iothread.
#include <fmt/format.h>

#include <algorithm>

#include "blocklayer/layer.hpp"
#include "blocklayer/monitor/command.hpp"
#include "blocklayer/monitor/iothread.hpp"
#include "blocklayer/monitor/qom.hpp"
#include "blocklayer/options/member_order.hpp"

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

const TypeRegistration kinds({.name = "ObjectType",
                              .meta = TypeSpec::Meta::enumeration,
                              .values = {"iothread"}});
const TypeRegistration options({
    .name = "ObjectOptions",
    .members = {required("qom-type", "ObjectType"), required("id", "str")},
    .tag = "qom-type",
    .variants = {{"iothread",
                  {optional("aio-max-batch", "int"), optional("thread-pool-min", "int"),
                   optional("thread-pool-max", "int"), optional("poll-max-ns", "int"),
                   optional("poll-grow", "int"), optional("poll-shrink", "int")}}},
});
const TypeRegistration info(
    {.name = "IOThreadInfo",
     .members = {required("id", "str"), required("thread-id", "int"),
                 required("poll-max-ns", "int"), required("poll-grow", "int"),
                 required("poll-shrink", "int"), required("aio-max-batch", "int")}});

bool is_identifier(std::string_view text) {
    const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
    if (text.empty() || !letter(text[0])) return false;
    return std::all_of(text.begin(), text.end(), [&](char c) {
        return letter(c) || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
    });
}

Status check_number(const char* name, std::int64_t value) {
    if (value >= 0) return {};
    return failure(fmt::format("{} value must be in range [0, {}]", name, INT64_MAX));
}

Result<Value> object_add(sim::Co&, BlockLayer& layer, const Value& arguments) {
    const std::string& id = arguments.at("id").as_string();
    if (!is_identifier(id)) return failure("Parameter 'id' expects an identifier");
    IoThread made{.id = id, .thread = nullptr};
    for (const Number& number : numbers)
        if (const Value* value = arguments.find(number.name)) {
            TRY(check_number(number.name, value->as_int()));
            made.*number.member = value->as_int();
        }
    if (find_iothread(layer, id) != nullptr)
        return failure(
            fmt::format("attempt to add duplicate property '{}' to object (type 'container')", id));
    made.thread = &layer.world().add_thread(id, sim::ThreadKind::iothread);
    iothreads(layer).push_back(std::move(made));
    return Value();
}

Result<Value> object_del(sim::Co&, BlockLayer& layer, const Value& arguments) {
    const std::string& id = arguments.at("id").as_string();
    const IoThread* thread = find_iothread(layer, id);
    if (thread == nullptr) return failure(fmt::format("object '{}' not found", id));
    // Devices that run in it go on doing so: the simulated thread itself stays.
    iothreads(layer).remove_if([&](const IoThread& one) { return &one == thread; });
    return Value();
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

QomObject describe(IoThread& thread) {
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

// The machine's memory is an object as well, and listed although nothing here uses it.
QomObject list_objects(BlockLayer& layer) {
    std::vector<std::string_view> names{"pc.ram"};
    for (const IoThread& thread : iothreads(layer)) names.push_back(thread.id);
    QomObject object{.type = "container"};
    std::vector<std::string_view> order = hash_order(names);
    std::reverse(order.begin(), order.end());
    for (const std::string_view name : order)
        object.properties.push_back(
            {.name = std::string(name),
             .type = name == "pc.ram" ? "child<memory-backend-ram>" : "child<iothread>",
             .get = [name = std::string(name)] { return Result<Value>("/objects/" + name); }});
    return object;
}

std::optional<QomObject> resolve(BlockLayer& layer, std::string_view path) {
    const auto without = [](std::string_view text, std::string_view prefix) {
        return text.starts_with(prefix) ? text.substr(prefix.size()) : text;
    };
    if (path == "/objects" || path == "objects") return list_objects(layer);
    if (path.starts_with('/') && !path.starts_with("/objects/")) return std::nullopt;
    IoThread* thread = find_iothread(layer, without(without(path, "/"), "objects/"));
    if (thread == nullptr) return std::nullopt;
    return describe(*thread);
}

const QomRegistration objects(resolve);
const CommandRegistration add({.name = "object-add",
                               .args_type = "ObjectOptions",
                               .run = object_add,
                               .source = "QAPI qom.json"});
const CommandRegistration del({.name = "object-del",
                               .args = {required("id", "str")},
                               .run = object_del,
                               .source = "QAPI qom.json"});
const CommandRegistration query({.name = "query-iothreads",
                                 .returns = "[IOThreadInfo]",
                                 .run = query_iothreads,
                                 .source = "QAPI misc.json"});

}  // namespace
}  // namespace blocklayer
