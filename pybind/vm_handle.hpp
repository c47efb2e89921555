// SPDX-License-Identifier: Apache-2.0
// VmHandle: one virtual machine of a world, block layer and devices, as Python holds it.
//
// QMP commands run one at a time in the layer's own dispatcher, as those of a monitor session do.
// invariant  backends and the guest go before the layer they belong to
#pragma once
#include <pybind11/pybind11.h>

#include <memory>
#include <string>
#include <vector>

#include "blocklayer/layer.hpp"
#include "pybind/guest.hpp"
#include "pybind/store_handle.hpp"
#include "pybind/vm_record.hpp"
#include "pybind/world_handle.hpp"

namespace bindings {

struct Vm {
    Vm(sim::World& world, sim::HostStore& store, blocklayer::LayerOptions options,
       std::size_t number)
        : layer(world, store, options), guest(hwmodels::Machine::of(layer), number) {
        if (world.trace().recording()) record = std::make_unique<VmRecord>(layer);
    }

    blocklayer::BlockLayer layer;
    Guest guest;
    std::vector<blocklayer::QmpEvent> events;  // all of them, oldest first
    std::shared_ptr<Future> event_arrived;     // nullptr: nobody waits
    std::vector<std::unique_ptr<blocklayer::BlockBackend>> backends;
    std::unique_ptr<VmRecord> record;  // nullptr: the world is not recorded
};

struct VmHandle {
    std::shared_ptr<WorldHandle> world;
    Vm* machine;

    Vm& vm() const {
        world->sim();  // raises when it is closed
        return *machine;
    }
    blocklayer::BlockLayer& layer() const { return vm().layer; }
};

// Python's own access to a node, as a user of it with permissions.
struct BackendHandle {
    std::shared_ptr<WorldHandle> world;
    Vm* machine;
    blocklayer::BlockBackend* object;  // nullptr: closed

    blocklayer::BlockBackend& backend() const;
};

// Nodes and edges as dictionaries.
py::dict graph_to_python(blocklayer::BlockLayer& layer);

}  // namespace bindings
