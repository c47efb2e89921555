// SPDX-License-Identifier: Apache-2.0
// The built-in platform: round numbers of today's hardware, not of any product.
#include "sim/resources.hpp"

namespace sim {

PlatformSpec workstation_spec() {
    return {
        .hosts = {{.name = "workstation", .flops_per_second = 10e9},
                  {.name = "server", .flops_per_second = 10e9}},
        .disks = {{.name = "nvme0",
                   .host = "workstation",
                   .read_bytes_per_second = 3.2e9,
                   .write_bytes_per_second = 2.8e9,
                   .latency = microseconds(20)},
                  {.name = "sata0",
                   .host = "workstation",
                   .read_bytes_per_second = 540e6,
                   .write_bytes_per_second = 500e6,
                   .latency = microseconds(80)},
                  {.name = "hdd0",
                   .host = "workstation",
                   .read_bytes_per_second = 180e6,
                   .write_bytes_per_second = 170e6,
                   .latency = milliseconds(8)},
                  {.name = "remote0",
                   .host = "server",
                   .read_bytes_per_second = 2e9,
                   .write_bytes_per_second = 1.5e9,
                   .latency = microseconds(50)}},
        .links = {{.name = "lan", .bytes_per_second = 1.25e9, .latency = microseconds(50)}},
        .routes = {{.from = "workstation", .to = "server", .links = {"lan"}}},
    };
}

}  // namespace sim
