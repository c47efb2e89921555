// SPDX-License-Identifier: Apache-2.0
// How much data a command block announces, and which way it goes: what an adapter compares with the
// buffers it was given, before the command runs.
//
// source  SPC-4, SBC-3, MMC-6: the allocation, parameter list or transfer length of each command.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>

namespace hwmodels::scsi {

struct Transfer {
    std::uint64_t bytes = 0;
    bool to_device = false;
};

Transfer transfer_of(const std::array<std::byte, 16>& cdb, std::uint32_t block_bytes);

}  // namespace hwmodels::scsi
