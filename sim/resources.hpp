// SPDX-License-Identifier: Apache-2.0
// Resources: a platform whose disks, links and processors take the time SimGrid says they do.
//
// No SimGrid actor is involved: the executor stands where SimGrid's own main loop stands, starts
// activities from there and lets the engine run to the next completion when the world's clock
// moves. SimGrid's clock stands still while nothing is under way.
//
// SimGrid has one engine in a process and its clock never goes back: a process can build one of
// these. Whoever needs another timed world starts a fresh process.
//
// units  bytes, flops, and SI units per second
#pragma once
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "sim/platform.hpp"
#include "sim/time.hpp"

namespace sim {

class World;

struct HostSpec {
    std::string name;
    double flops_per_second = 1e9;
};
struct DiskSpec {
    std::string name;  // unique in the platform
    std::string host;
    double read_bytes_per_second = 0;
    double write_bytes_per_second = 0;
    Duration latency;  // of each operation, before its bytes move; not shared with others
};
struct LinkSpec {
    std::string name;
    double bytes_per_second = 0;
    Duration latency;
};
struct RouteSpec {  // both ways
    std::string from, to;
    std::vector<std::string> links;
};
struct PlatformSpec {
    std::vector<HostSpec> hosts;
    std::vector<DiskSpec> disks;
    std::vector<LinkSpec> links;
    std::vector<RouteSpec> routes;
};

// One machine, "workstation", with "nvme0", "sata0" and "hdd0"; behind the link "lan" a second one,
// "server", with "remote0".
PlatformSpec workstation_spec();

// A platform that makes no sense, or a name that is not in it.
class PlatformError : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};
// There has been a timed platform in this process.
class SecondTimedWorld : public PlatformError {
public:
    SecondTimedWorld();
};

class Resources final : public Platform {
public:
    // Both throw PlatformError.
    static std::unique_ptr<Resources> from_spec(const PlatformSpec& spec);
    static std::unique_ptr<Resources> from_xml(const std::string& path);
    // The world's, or nullptr: it is on the `instant` platform.
    static Resources* of(World& world);
    ~Resources() override;

    std::vector<std::string> hosts() const;  // sorted, as the next
    std::vector<std::string> disks() const;

    // Each suspends until the engine says it is done. Unknown names: PlatformError.
    void disk_read(Co& co, std::string_view disk, std::uint64_t bytes);
    void disk_write(Co& co, std::string_view disk, std::uint64_t bytes);
    void transfer(Co& co, std::string_view from, std::string_view to, std::uint64_t bytes);
    void compute(Co& co, std::string_view host, double flops);
    // For MemoryMedium::set_disk; lives as long as this.
    DiskTime& disk(std::string_view name);

    bool busy() const override;
    Instant advance(Instant now, Instant limit) override;
    // SimGrid's own clock, which moves only while something is under way.
    double engine_seconds() const;

private:
    struct Engine;
    explicit Resources(std::unique_ptr<Engine> engine);
    std::unique_ptr<Engine> engine_;
};

}  // namespace sim
