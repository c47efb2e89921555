// SPDX-License-Identifier: Apache-2.0
// GuestDisk: a disk as guest code uses it, whatever controller it hangs on.
//
// The waiting calls copy through buffers in guest memory, as a kernel's do for its users. A disk
// that was taken out fails its requests with Errno::no_medium.
//
// units  bytes; offsets and lengths are multiples of the block size
#pragma once
#include <cstdint>
#include <span>
#include <string>

#include "sim/co.hpp"
#include "sim/errno.hpp"

namespace hwmodels::guest {

class GuestDisk {
public:
    virtual ~GuestDisk() = default;

    virtual std::uint64_t length() const = 0;
    virtual std::uint32_t block_size() const = 0;
    virtual bool read_only() const = 0;

    // errors: io: the device reported an error; not_supported; no_medium: the device is gone.
    virtual sim::IoStatus read(sim::Co& co, std::uint64_t offset, std::span<std::byte> into) = 0;
    virtual sim::IoStatus write(sim::Co& co, std::uint64_t offset,
                                std::span<const std::byte> from) = 0;
    virtual sim::IoStatus flush(sim::Co& co) = 0;
    virtual sim::IoStatus discard(sim::Co& co, std::uint64_t offset, std::uint64_t length) = 0;
    virtual sim::IoStatus write_zeroes(sim::Co& co, std::uint64_t offset, std::uint64_t length,
                                       bool may_unmap) = 0;
    // No new requests; those in flight end first. Then the driver lets go of the device.
    virtual void shut_down(sim::Co& co) = 0;
    // The device is gone: requests in flight fail.
    virtual void surprise_removed() = 0;
};

}  // namespace hwmodels::guest
