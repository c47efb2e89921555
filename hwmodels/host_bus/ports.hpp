// SPDX-License-Identifier: Apache-2.0
// Ports: the I/O ports of the machine's old devices, at fixed addresses.
//
// invariant  ranges do not overlap
#pragma once
#include <cstdint>
#include <vector>

namespace hwmodels {

class PortDevice {
public:
    virtual ~PortDevice() = default;
    virtual std::uint32_t port_read(std::uint32_t port, std::uint32_t size) = 0;
    virtual void port_write(std::uint32_t port, std::uint32_t size, std::uint32_t value) = 0;
};

class Ports {
public:
    void claim(std::uint32_t begin, std::uint32_t count, PortDevice& device) {
        ranges_.push_back({begin, begin + count, &device});
    }
    void release(const PortDevice& device) {
        std::erase_if(ranges_, [&](const Range& range) { return range.device == &device; });
    }
    // nullptr: nobody there.
    PortDevice* at(std::uint32_t port) const {
        for (const Range& range : ranges_)
            if (port >= range.begin && port < range.end) return range.device;
        return nullptr;
    }

private:
    struct Range {
        std::uint32_t begin, end;
        PortDevice* device;
    };
    std::vector<Range> ranges_;
};

}  // namespace hwmodels
