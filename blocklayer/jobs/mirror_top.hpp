// SPDX-License-Identifier: Apache-2.0
// mirror_top: the filter above a mirror's source. Not a driver users can ask for.
#pragma once
#include <memory>

#include "blocklayer/drivers/driver.hpp"

namespace blocklayer {

class Mirror;

class MirrorTop final : public Driver {
public:
    // onto_backing: the target is below the source, so that what is read through here is good
    // although a node further down is not.
    explicit MirrorTop(bool onto_backing) : onto_backing_(onto_backing) {}
    static const DriverSpec& driver_spec();

    void set_job(Mirror* job) { job_ = job; }
    void stop() { stopped_ = true; }  // asks nothing of its child any more
    void unstop() { stopped_ = false; }

    Status open(sim::Co& co, OpenContext& context) override;
    IoStatus read(sim::Co& co, std::uint64_t offset, sim::IoView into, RequestFlags flags) override;
    IoStatus write(sim::Co& co, std::uint64_t offset, sim::IoView from,
                   RequestFlags flags) override;
    IoStatus write_zeroes(sim::Co& co, std::uint64_t offset, std::uint64_t length,
                          RequestFlags flags) override;
    IoStatus discard(sim::Co& co, std::uint64_t offset, std::uint64_t length) override;
    IoResult<std::uint64_t> length(sim::Co& co) override;
    Limits limits() const override;
    Claim child_claim(const Edge* edge, RoleSet role, Claim cumulative,
                      bool writable) const override;

private:
    Edge& below() const;

    Mirror* job_ = nullptr;
    bool onto_backing_;
    bool stopped_ = false;
};

}  // namespace blocklayer
