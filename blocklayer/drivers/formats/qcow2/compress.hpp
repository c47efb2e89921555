// SPDX-License-Identifier: Apache-2.0
// Compressing one cluster, and getting it back. No I/O.
#pragma once
#include <cstddef>
#include <span>
#include <vector>

#include "blocklayer/drivers/formats/qcow2/format.hpp"
#include "blocklayer/errors.hpp"

namespace blocklayer::qcow2 {

// errors: no_memory when the result is not smaller than `room` bytes.
IoResult<std::vector<std::byte>> compress(Compression method, std::span<const std::byte> data,
                                          std::size_t room);
// Fills `data`; what follows the compressed data in `from` is ignored. errors: io
IoStatus decompress(Compression method, std::span<const std::byte> from,
                    std::span<std::byte> data);

}  // namespace blocklayer::qcow2
