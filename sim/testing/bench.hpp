// SPDX-License-Identifier: Apache-2.0
// Measurements: an x_bench.cpp registers functions, blockstep-bench runs them and prints rows.
//
//     const BenchRegistration registration("fiber switch", [](BenchReport& report) {
//         const CpuTimer timer;
//         ...
//         report.row("fiber switch", timer.seconds() / switches * 1e9, "ns");
//     });
#pragma once

#include <cstdio>
#include <ctime>
#include <string_view>
#include <vector>

namespace sim::testing {

// CPU time of this process since the timer was made. Measurements alone may read a real clock;
// nothing measured goes back into a world.
class CpuTimer {
public:
    double seconds() const { return now() - start_; }

private:
    static double now() {
        std::timespec time{};
        ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
        return double(time.tv_sec) + double(time.tv_nsec) * 1e-9;
    }

    double start_ = now();
};

class BenchReport {
public:
    // Prints one JSON line. Names and units are plain ASCII without quotes or backslashes.
    void row(std::string_view name, double value, std::string_view unit) {
        std::printf("{\"name\": \"%.*s\", \"value\": %.6g, \"unit\": \"%.*s\"}\n",
                    int(name.size()), name.data(), value, int(unit.size()), unit.data());
        std::fflush(stdout);
    }
};

class BenchRegistration {
public:
    using Run = void (*)(BenchReport& report);

    BenchRegistration(std::string_view name, Run run) { all().push_back({name, run}); }

    struct Bench {
        std::string_view name;
        Run run;
    };
    static std::vector<Bench>& all() {
        static std::vector<Bench> benches;
        return benches;
    }
};

}  // namespace sim::testing
