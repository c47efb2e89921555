// SPDX-License-Identifier: Apache-2.0
// blockstep-bench [NAME]: runs the benches whose name contains NAME, sorted by name.
#include "sim/testing/bench.hpp"

int main(int argc, char** argv) {
    const std::string_view wanted = argc > 1 ? argv[1] : "";
    auto benches = sim::testing::BenchRegistration::all();
    std::ranges::sort(benches, {}, &sim::testing::BenchRegistration::Bench::name);
    sim::testing::BenchReport report;
    for (const auto& bench : benches) {
        if (bench.name.find(wanted) != std::string_view::npos) bench.run(report);
    }
}
