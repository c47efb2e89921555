// SPDX-License-Identifier: Apache-2.0
// Image files as a format's own driver makes them, for campaigns and benches to start from.
#pragma once
#include <cstdint>
#include <string>

#include "blocklayer/value.hpp"
#include "sim/byte_image.hpp"

namespace hwmodels::campaign {

struct ImageSpec {
    std::string file, format;
    std::uint64_t size = 0;    // bytes of the disk
    blocklayer::Value create;  // more members of BlockdevCreateOptions
    unsigned filled = 0;       // not 0: every sector written with a pattern of this number
    bool operator<(const ImageSpec& other) const;
};
// A qcow2 image over a backing file.
ImageSpec overlay_image(std::string file, std::uint64_t size, std::string backing_file,
                        std::string backing_format, std::uint64_t cluster_bytes = 4096);

// The file's bytes, the same for the same words. Made in a world of its own, by code without known
// bugs. What cannot be made is a broken invariant.
sim::ByteImage make_image(const ImageSpec& image);

}  // namespace hwmodels::campaign
