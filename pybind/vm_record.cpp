// SPDX-License-Identifier: Apache-2.0
#include "pybind/vm_record.hpp"

#include "pybind/vm_handle.hpp"

namespace bindings {

std::size_t VmRecord::begin(const std::string& name, const blocklayer::Value& arguments) {
    commands_.push_back({.name = name, .arguments = arguments, .begin = now(), .end = {},
                         .result = std::nullopt});
    return commands_.size() - 1;
}

void VmRecord::end(std::size_t command,
                   const blocklayer::Result<blocklayer::Value>& result) {
    commands_[command].end = now();
    if (result)
        commands_[command].result = *result;
    else
        commands_[command].result = blocklayer::Unexpected(result.error());
    cause_ = commands_[command].name;
    look_ = true;
}

void VmRecord::event(const blocklayer::QmpEvent& event) {
    events_.push_back({now(), event.name.name(), event.data});
    cause_ = event.name.name();
    look_ = true;
}

void VmRecord::after_turn() {
    constexpr std::uint64_t drained = sim::hash_text("drained section ends");
    const auto& traced = layer_.world().trace().events();
    for (; traced_ < traced.size(); ++traced_)
        if (traced[traced_].label.hash() == drained) {
            if (!look_) cause_ = "after a drained section";
            look_ = true;
        }
    if (!std::exchange(look_, false)) return;
    std::string graph = layer_.graph().dump();
    for (const blocklayer::Node* node : layer_.nodes()) graph += node->name() + '\n';
    if (graph == last_graph_) return;
    last_graph_ = std::move(graph);
    graphs_.push_back({now(), graph_to_python(layer_), cause_});
}

}  // namespace bindings
