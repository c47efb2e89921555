// SPDX-License-Identifier: Apache-2.0
// blockstep-crash-states: the states that power cuts leave qcow2 images in.
//
//     blockstep-crash-states --list                  names of configurations
//     blockstep-crash-states CONFIGURATION [--workloads N] [--time SECONDS]
//
// One JSON object on standard output. Exit status 1 when a state is not as it must be.
#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <optional>
#include <string_view>

#include "blocklayer/drivers/formats/qcow2/crash/explorer.hpp"
#include "sim/wall_clock.hpp"

namespace {

using namespace blocklayer::qcow2::crash;

constexpr unsigned workload_length = 3;

struct Arguments {
    const Configuration* configuration = nullptr;
    std::uint64_t workloads = workloads_of(workload_length);
    double seconds = 1e6;
};

std::optional<Arguments> parse(int argc, char** argv) {
    Arguments arguments;
    for (int i = 1; i < argc; ++i) {
        const std::string_view word = argv[i];
        const bool more = i + 1 < argc;
        if (word == "--workloads" && more)
            arguments.workloads =
                std::min<std::uint64_t>(arguments.workloads, std::strtoull(argv[++i], nullptr, 10));
        else if (word == "--time" && more)
            arguments.seconds = std::strtod(argv[++i], nullptr);
        else
            for (const Configuration& each : configurations())
                if (word == each.name) arguments.configuration = &each;
    }
    if (arguments.configuration == nullptr) return std::nullopt;
    return arguments;
}

void print(const Configuration& configuration, const Explorer& explorer) {
    const Counts& counts = explorer.counts();
    fmt::print("{{\"configuration\": \"{}\", \"workloads\": {}, \"moments\": {}, \"states\": {}, "
               "\"distinct\": {}, \"leaking\": {}, \"continued\": {}, \"failures\": [",
               configuration.name, counts.workloads, counts.moments, counts.states,
               counts.distinct, counts.leaking, counts.continued);
    const char* comma = "";
    for (const Failure& failure : explorer.failures()) {
        std::string what;
        for (const char c : failure.what) what += c == '"' || c == '\\' || c < ' ' ? ' ' : c;
        fmt::print("{}{{\"operations\": \"{}\", \"moment\": {}, \"kept\": \"{}\", \"what\": "
                   "\"{}\"}}", comma, failure.operations, failure.moment, failure.kept, what);
        comma = ", ";
    }
    fmt::print("]}}\n");
}

}  // namespace

int main(int argc, char** argv) {
    if (argc == 2 && std::strcmp(argv[1], "--list") == 0) {
        for (const Configuration& each : configurations()) fmt::print("{}\n", each.name);
        return 0;
    }
    const std::optional<Arguments> arguments = parse(argc, argv);
    if (!arguments) {
        fmt::print(stderr, "blockstep-crash-states: which configuration? See --list\n");
        return 2;
    }
    Explorer explorer(*arguments->configuration);
    const std::uint64_t all = workloads_of(workload_length);
    // Neighbours are alike; whoever stops early shall have seen a bit of everything.
    std::uint64_t stride = all * 5 / 8;
    while (std::gcd(stride, all) != 1) ++stride;
    sim::WallClock& clock = sim::WallClock::host();
    const std::int64_t end = clock.now_ns() + static_cast<std::int64_t>(arguments->seconds * 1e9);
    for (std::uint64_t i = 0; i < arguments->workloads && clock.now_ns() < end; ++i)
        explorer.explore(workload_of(i * stride % all, workload_length));
    print(*arguments->configuration, explorer);
    return explorer.failures().empty() ? 0 : 1;
}
