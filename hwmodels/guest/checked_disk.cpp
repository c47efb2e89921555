// SPDX-License-Identifier: Apache-2.0
#include "hwmodels/guest/checked_disk.hpp"

#include "sim/check.hpp"

namespace hwmodels::guest {

// A request is where the driver is; at its beginning and its end the oracle hears of it.
class CheckedDisk::Request {
public:
    Request(const sim::Co& co, const CheckedDisk& disk)
        : world_(co.world()),
          within_(co, disk.place_),
          contents_(disk.oracle_ != nullptr ? disk.oracle_->place() : disk.place_) {
        world_.touch(contents_);
    }
    Request(const Request&) = delete;
    Request& operator=(const Request&) = delete;
    ~Request() { world_.touch(contents_); }

private:
    sim::World& world_;
    const sim::World::Within within_;
    const sim::Place contents_;
};

sim::IoStatus CheckedDisk::read(sim::Co& co, std::uint64_t offset, std::span<std::byte> into) {
    const Request request(co, *this);
    if (oracle_ == nullptr) return disk_->read(co, offset, into);
    const std::shared_ptr<ContentOracle> oracle = oracle_;  // the disk may go meanwhile
    const ContentOracle::Moment begun = oracle->begin_read();
    const sim::IoStatus status = disk_->read(co, offset, into);
    if (!status) {
        oracle->abandon_read(begun);
        return status;
    }
    if (const auto wrong = oracle->end_read(begun, offset, into))
        throw sim::AssertionFailure(*wrong);
    return status;
}

sim::IoStatus CheckedDisk::write(sim::Co& co, std::uint64_t offset,
                                 std::span<const std::byte> from) {
    const Request request(co, *this);
    if (oracle_ == nullptr) return disk_->write(co, offset, from);
    const std::shared_ptr<ContentOracle> oracle = oracle_;
    const ContentOracle::Moment begun = oracle->begin_write(offset, from);
    const bool write_through = write_through_;
    const sim::IoStatus status = disk_->write(co, offset, from);
    oracle->end_change(begun, offset, from.size(), status.has_value());
    if (write_through && status) oracle->settled(begun, offset, from.size());
    return status;
}

sim::IoStatus CheckedDisk::flush(sim::Co& co) {
    const Request request(co, *this);
    if (oracle_ == nullptr) return disk_->flush(co);
    const std::shared_ptr<ContentOracle> oracle = oracle_;
    const ContentOracle::Moment begun = oracle->begin_flush();
    const sim::IoStatus status = disk_->flush(co);
    if (status) oracle->end_flush(begun);
    return status;
}

sim::IoStatus CheckedDisk::discard(sim::Co& co, std::uint64_t offset, std::uint64_t length) {
    const Request request(co, *this);
    if (oracle_ == nullptr) return disk_->discard(co, offset, length);
    const std::shared_ptr<ContentOracle> oracle = oracle_;
    const ContentOracle::Moment begun = oracle->begin_zeroes(offset, length);
    const sim::IoStatus status = disk_->discard(co, offset, length);
    oracle->end_change(begun, offset, length, /*succeeded=*/false);
    return status;
}

sim::IoStatus CheckedDisk::write_zeroes(sim::Co& co, std::uint64_t offset, std::uint64_t length,
                                        bool may_unmap) {
    const Request request(co, *this);
    if (oracle_ == nullptr) return disk_->write_zeroes(co, offset, length, may_unmap);
    const std::shared_ptr<ContentOracle> oracle = oracle_;
    const ContentOracle::Moment begun = oracle->begin_zeroes(offset, length);
    const sim::IoStatus status = disk_->write_zeroes(co, offset, length, may_unmap);
    oracle->end_change(begun, offset, length, status.has_value());
    return status;
}

}  // namespace hwmodels::guest
