// SPDX-License-Identifier: Apache-2.0
// Real files into simulated media and back, holes kept.
#pragma once
#include <string>

#include "sim/byte_image.hpp"
#include "sim/errno.hpp"

namespace bindings {

sim::IoResult<sim::ByteImage> load_real_file(const std::string& path);
sim::IoStatus save_real_file(const std::string& path, const sim::ByteImage& image);

}  // namespace bindings
