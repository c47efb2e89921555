// SPDX-License-Identifier: Apache-2.0
// query-blockstats: counts of requests, by device or by node. Times are not kept: they are zero.
#include "blocklayer/layer.hpp"
#include "blocklayer/monitor/command.hpp"

namespace blocklayer {
namespace {

struct Counter {
    const char* name;
    std::uint64_t IoStatistics::*member;  // nullptr: nothing here counts it
};
constexpr Counter counters[] = {
    {"rd_bytes", &IoStatistics::rd_bytes},
    {"wr_bytes", &IoStatistics::wr_bytes},
    {"unmap_bytes", &IoStatistics::unmap_bytes},
    {"rd_operations", &IoStatistics::rd_operations},
    {"wr_operations", &IoStatistics::wr_operations},
    {"flush_operations", &IoStatistics::flush_operations},
    {"unmap_operations", &IoStatistics::unmap_operations},
    {"rd_total_time_ns", nullptr},
    {"wr_total_time_ns", nullptr},
    {"flush_total_time_ns", nullptr},
    {"unmap_total_time_ns", nullptr},
    {"rd_merged", nullptr},
    {"wr_merged", nullptr},
    {"unmap_merged", nullptr},
    {"failed_rd_operations", &IoStatistics::failed_rd},
    {"failed_wr_operations", &IoStatistics::failed_wr},
    {"failed_flush_operations", &IoStatistics::failed_flush},
    {"failed_unmap_operations", &IoStatistics::failed_unmap},
    {"invalid_rd_operations", &IoStatistics::invalid_rd},
    {"invalid_wr_operations", &IoStatistics::invalid_wr},
    {"invalid_flush_operations", nullptr},
    {"invalid_unmap_operations", nullptr},
};

std::vector<MemberSpec> statistics_members() {
    std::vector<MemberSpec> members;
    for (const Counter& counter : counters) members.push_back(required(counter.name, "int"));
    members.push_back(required("wr_highest_offset", "int"));
    members.push_back(required("account_invalid", "bool"));
    members.push_back(required("account_failed", "bool"));
    members.push_back(required("timed_stats", "[BlockDeviceTimedStats]"));
    members.push_back(optional("idle_time_ns", "int"));
    for (const char* kind : {"rd", "wr", "flush"})
        members.push_back(optional(std::string(kind) + "_latency_histogram",
                                   "BlockLatencyHistogramInfo"));
    return members;
}

std::vector<MemberSpec> timed_members() {
    std::vector<MemberSpec> members = {required("interval_length", "int"),
                                       required("avg_rd_queue_depth", "number"),
                                       required("avg_wr_queue_depth", "number")};
    for (const char* what : {"min", "max", "avg"})
        for (const char* kind : {"rd", "wr", "flush"})
            members.push_back(required(std::string(what) + "_" + kind + "_latency_ns", "int"));
    return members;
}

const TypeRegistration timed_type({.name = "BlockDeviceTimedStats", .members = timed_members()});
const TypeRegistration histogram_type({.name = "BlockLatencyHistogramInfo",
                                       .members = {required("boundaries", "[uint64]"),
                                                   required("bins", "[uint64]")}});

std::vector<MemberSpec> discard_members() {
    return {required("discard-nb-ok", "uint64"), required("discard-nb-failed", "uint64"),
            required("discard-bytes-ok", "uint64")};
}
const TypeRegistration specific_type(
    {.name = "BlockStatsSpecific",
     .members = {required("driver", "BlockdevDriver")},
     .tag = "driver",
     .variants = {{"file", discard_members()},
                  {"host_device", discard_members()},
                  {"nvme",
                   {required("completion-errors", "uint64"), required("aligned-accesses", "uint64"),
                    required("unaligned-accesses", "uint64")}}}});

const TypeRegistration statistics_type({.name = "BlockDeviceStats",
                                        .members = statistics_members()});
const TypeRegistration stats_type(
    {.name = "BlockStats",
     .members = {optional("device", "str"), optional("qdev", "str"), optional("node-name", "str"),
                 required("stats", "BlockDeviceStats"),
                 optional("driver-specific", "BlockStatsSpecific"),
                 optional("parent", "BlockStats"), optional("backing", "BlockStats")}});

Value statistics(const IoStatistics& counted, const Node* node, bool of_device) {
    Value stats = Value::dict();
    for (const Counter& counter : counters)
        stats.set(counter.name, counter.member == nullptr ? 0 : counted.*counter.member);
    stats.set("wr_highest_offset", node == nullptr ? 0 : node->highest_write_end);
    stats.set("account_invalid", of_device);
    stats.set("account_failed", of_device);
    stats.set("timed_stats", Value::list());
    return stats;
}

// of_device: images below are told of as well, not only the node's file.
void add_node(Value& entry, const Node& node, bool of_device);

Value node_entry(const Node& node, bool of_device) {
    Value entry = Value::dict();
    entry.set("node-name", node.name());
    entry.set("stats", statistics({}, &node, false));
    add_node(entry, node, of_device);
    return entry;
}

void add_node(Value& entry, const Node& node, bool of_device) {
    const Value specific = node.driver().statistics();
    if (!specific.is_null()) entry.set("driver-specific", specific);
    const Edge* primary = node.primary_child();
    const Edge* below = node.is_filter() ? node.filtered_child() : node.cow_child();
    if (primary != nullptr) entry.set("parent", node_entry(primary->child(), of_device));
    if (of_device && below != nullptr) entry.set("backing", node_entry(below->child(), true));
}

Value device_entry(const BlockBackend& backend) {
    Value entry = Value::dict({{"device", Value(backend.name())}});
    if (backend.has_device()) entry.set("qdev", backend.qom_path());
    const Node* node = backend.node();
    if (node != nullptr) entry.set("node-name", node->name());
    entry.set("stats", statistics(backend.statistics, node, true));
    if (node != nullptr) add_node(entry, *node, true);
    return entry;
}

Result<Value> query_blockstats(sim::Co&, BlockLayer& layer, const Value& arguments) {
    Value list = Value::list();
    if (arguments.get_bool("query-nodes", false)) {
        for (const Node* node : layer.nodes()) list.push(node_entry(*node, false));
        return list;
    }
    for (const BlockBackend* backend : layer.backends())
        if (!backend->name().empty() || backend->has_device()) list.push(device_entry(*backend));
    return list;
}

const CommandRegistration registration({.name = "query-blockstats",
                                        .args = {optional("query-nodes", "bool")},
                                        .returns = "[BlockStats]",
                                        .run = query_blockstats,
                                        .source = "QAPI block-core.json"});

}  // namespace
}  // namespace blocklayer
