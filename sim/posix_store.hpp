// SPDX-License-Identifier: Apache-2.0
// PosixStore: real files, with the byte-range locks of the host's open file descriptions.
//
// Each operation suspends once, as in a MemoryStore, and is then made at one go: real time does not
// pass in a world.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "sim/host_store.hpp"

namespace sim {

class PosixStore final : public HostStore {
public:
    // Paths are taken below the root; without one, as the process sees them.
    explicit PosixStore(std::string root = "") : root_(std::move(root)) {}

    IoResult<std::unique_ptr<HostFile>> open(std::string_view path, HostAccess access) override;
    IoResult<std::unique_ptr<HostFile>> create(std::string_view path) override;
    IoStatus remove(std::string_view path) override;
    bool exists(std::string_view path) const override;
    // The regular files in the root itself, or in the present directory.
    std::vector<std::string> list() const override;

private:
    std::string full(std::string_view path) const;
    std::string root_;
};

}  // namespace sim
