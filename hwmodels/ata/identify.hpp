// SPDX-License-Identifier: Apache-2.0
// IDENTIFY DEVICE and IDENTIFY PACKET DEVICE: 256 words about a drive.
//
// source  ATA/ATAPI-7; values as the reference's devices give them.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "hwmodels/qdev/property.hpp"

namespace blocklayer {
class BlockBackend;
}

namespace hwmodels {

struct DiskIdentity {
    const Properties& properties;
    const blocklayer::BlockBackend& backend;
    std::uint8_t multiple;  // sectors moved per interrupt
};

std::vector<std::byte> identify_disk(const DiskIdentity& disk);
std::vector<std::byte> identify_packet_device(const Properties& properties);

}  // namespace hwmodels
