// SPDX-License-Identifier: Apache-2.0
// StoreHandle: a host store of a world as Python holds it. The store lives until the world ends.
#pragma once
#include <memory>
#include <string>

#include "pybind/world_handle.hpp"
#include "sim/memory_store.hpp"

namespace bindings {

struct StoreHandle {
    std::shared_ptr<WorldHandle> world;
    sim::HostStore* store;

    sim::HostStore& get() const {
        world->sim();  // raises when it is closed
        return *store;
    }
};

struct MemoryStoreHandle : StoreHandle {
    sim::MemoryStore& memory() const { return static_cast<sim::MemoryStore&>(get()); }
    // The medium behind the path; raises HostError when there is none.
    sim::MemoryMedium& medium(const std::string& path) const;
};

// Raises HostError.
[[noreturn]] void raise_host_error(sim::Errno error, const std::string& path);

}  // namespace bindings
