// SPDX-License-Identifier: Apache-2.0
// WatchedStore: another store, with somebody who is told of every change that has been made.
#pragma once
#include <functional>
#include <memory>

#include "sim/host_store.hpp"

namespace blocklayer::qcow2::crash {

class WatchedStore final : public sim::HostStore {
public:
    WatchedStore(sim::HostStore& store, std::function<void()> changed)
        : store_(store), changed_(std::move(changed)) {}

    sim::IoResult<std::unique_ptr<sim::HostFile>> open(std::string_view path,
                                                       sim::HostAccess access) override;
    sim::IoResult<std::unique_ptr<sim::HostFile>> create(std::string_view path) override;
    sim::IoStatus remove(std::string_view path) override { return store_.remove(path); }
    bool exists(std::string_view path) const override { return store_.exists(path); }
    std::vector<std::string> list() const override { return store_.list(); }

private:
    sim::HostStore& store_;
    std::function<void()> changed_;
};

}  // namespace blocklayer::qcow2::crash
