// SPDX-License-Identifier: Apache-2.0
// Sectors that say who they are, by the thousand; their layout is blockstep/replay/pattern.py's.
#include <zlib.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "pybind/section.hpp"

namespace bindings {
namespace {

constexpr std::size_t sector_bytes = 512, head_bytes = 36;
constexpr std::uint64_t sectors_max = 1ULL << 22;
static_assert(std::endian::native == std::endian::little);

void fill_sector(char* to, std::uint64_t number, std::uint64_t generation, std::uint64_t seed) {
    std::memcpy(to, "blkstep\n", 8);
    std::memcpy(to + 8, &number, 8);
    std::memcpy(to + 16, &generation, 8);
    std::memcpy(to + 24, &seed, 8);
    const auto crc = static_cast<std::uint32_t>(
        ::crc32(0, reinterpret_cast<const Bytef*>(to), head_bytes - 4));
    std::memcpy(to + 32, &crc, 4);
    for (std::size_t at = head_bytes; at < sector_bytes; at += head_bytes)
        std::memcpy(to + at, to, std::min(head_bytes, sector_bytes - at));
}

py::bytes pattern_data(std::uint64_t first, std::uint64_t sectors, std::uint64_t generation,
                       std::uint64_t seed) {
    if (sectors > sectors_max) throw py::value_error("longer than 2 GiB");
    py::bytes data(nullptr, sectors * sector_bytes);
    char* const to = PyBytes_AS_STRING(data.ptr());
    if (generation == 0)
        std::memset(to, 0, sectors * sector_bytes);
    else
        for (std::uint64_t i = 0; i < sectors; ++i)
            fill_sector(to + i * sector_bytes, first + i, generation, seed);
    return data;
}

const Section section("pattern", {}, [](py::module_& module) {
    module.def("pattern_data", pattern_data, "first"_a, "sectors"_a, "generation"_a, "seed"_a,
               "The contents of that many sectors from sector `first` on, as write `generation` of "
               "a run with this seed puts them there. Generation 0: zeroes.");
});

}  // namespace
}  // namespace bindings
