// SPDX-License-Identifier: Apache-2.0
// snapshot-access: the earlier state that a copy-before-write below keeps, as a read-only disk.
//
// source  QAPI BlockdevDriver "snapshot-access"; behaviour as observed
#include "blocklayer/drivers/driver.hpp"
#include "blocklayer/drivers/filters/snapshot_source.hpp"
#include "blocklayer/graph/open.hpp"
#include "blocklayer/requests/request.hpp"

namespace blocklayer {
namespace {

class SnapshotAccess final : public Driver {
public:
    Status open(sim::Co& co, OpenContext& context) override {
        file_ = TRY(context.open_child(co, "file", Role::data | Role::primary));
        return {};
    }

    // It asks nothing of the node below: it does not read what is there now.
    Claim child_claim(const Edge*, RoleSet, Claim, bool) const override { return {}; }

    IoStatus read(sim::Co& co, std::uint64_t offset, sim::IoView into, RequestFlags) override {
        const RequestScope scope(co, file_->child());
        SnapshotSource* source = this->source();
        if (source == nullptr) return Unexpected(Errno::not_supported);
        return source->snapshot_read(co, offset, into);
    }
    IoResult<BlockStatus> block_status(sim::Co& co, std::uint64_t offset,
                                       std::uint64_t length) override {
        const RequestScope scope(co, file_->child());
        SnapshotSource* source = this->source();
        if (source == nullptr) return Unexpected(Errno::not_supported);
        BlockStatus status = TRY(source->snapshot_status(co, offset, length));
        status.allocated = true;
        return status;
    }
    IoStatus discard(sim::Co& co, std::uint64_t offset, std::uint64_t length) override {
        const RequestScope scope(co, file_->child());
        SnapshotSource* source = this->source();
        if (source == nullptr) return Unexpected(Errno::not_supported);
        return source->snapshot_discard(co, offset, length);
    }
    IoStatus flush(sim::Co&) override { return {}; }

    IoResult<std::uint64_t> length(sim::Co&) override { return file_->child().length(); }
    bool supports_reopen() const override { return false; }

private:
    SnapshotSource* source() const {
        return dynamic_cast<SnapshotSource*>(&file_->child().driver());
    }

    Edge* file_ = nullptr;
};

const DriverRegistration registration({
    .name = "snapshot-access",
    .kind = DriverKind::format,
    .options = {required("file", "BlockdevRef", "a copy-before-write node")},
    .make = make_driver<SnapshotAccess>,
    .source = "QAPI BlockdevOptionsGenericFormat",
    .named_as_child = true,
});

}  // namespace
}  // namespace blocklayer
