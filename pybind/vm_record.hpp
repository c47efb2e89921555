// SPDX-License-Identifier: Apache-2.0
// VmRecord: what went over QMP and how the graph changed, for reports of recorded worlds.
//
// Graphs change in commands, around events and in drained sections; after a turn of the world in
// which one of these showed itself, the graph is looked at.
#pragma once
#include <pybind11/pybind11.h>

#include <optional>
#include <string>
#include <vector>

#include "blocklayer/layer.hpp"

namespace bindings {

namespace py = pybind11;

class VmRecord {
public:
    // When: simulated time, and how many events had been traced before.
    struct Moment {
        sim::Instant at;
        std::uint64_t position = 0;
    };
    struct Command {
        std::string name;
        blocklayer::Value arguments;
        Moment begin, end;
        std::optional<blocklayer::Result<blocklayer::Value>> result;  // none: it has not ended
    };
    struct Event {
        Moment moment;
        std::string name;
        blocklayer::Value data;
    };
    struct Graph {
        Moment moment;
        py::dict graph;
        std::string cause;
    };

    explicit VmRecord(blocklayer::BlockLayer& layer) : layer_(layer) {}

    std::size_t begin(const std::string& name, const blocklayer::Value& arguments);
    void end(std::size_t command, const blocklayer::Result<blocklayer::Value>& result);
    void event(const blocklayer::QmpEvent& event);
    // Python code, on the executor's stack: after each turn of the world.
    void after_turn();

    const std::vector<Command>& commands() const { return commands_; }
    const std::vector<Event>& events() const { return events_; }
    const std::vector<Graph>& graphs() const { return graphs_; }

private:
    Moment now() const { return {layer_.world().now(), layer_.world().trace().count()}; }

    blocklayer::BlockLayer& layer_;
    std::vector<Command> commands_;
    std::vector<Event> events_;
    std::vector<Graph> graphs_;
    std::string last_graph_, cause_;
    std::size_t traced_ = 0;  // trace events looked at
    bool look_ = true;
};

}  // namespace bindings
