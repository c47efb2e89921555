// SPDX-License-Identifier: Apache-2.0
// Workload: an ordinary use of the whole stack that ends by itself. Whether a run of it was right
// is for the invariants to say; a workload knows of no bug in particular.
//
// Registered by a static object in a file of workloads/; found by its name.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "hwmodels/campaign/rig.hpp"

namespace hwmodels::campaign {

struct Workload {
    std::string name;
    void (*run)(Rig& rig, sim::Co& co);
    blocklayer::LayerLimits limits;
    sim::WriteCache cache = sim::WriteCache::none;
    // What every run begins with: done in order, asking neither schedule nor seed for anything, so
    // it is done once and runs go on from there (see checkpoint.hpp). nullptr: nothing.
    void (*prepare)(Rig& rig, sim::Co& co) = nullptr;
    bool compared = false;  // its runs give their ends
};

class WorkloadRegistration {
public:
    explicit WorkloadRegistration(Workload workload);
};

const Workload* find_workload(std::string_view name);  // nullptr: none
std::vector<const Workload*> all_workloads();          // sorted by name

struct Verdict {
    std::string failure;  // empty: all was right
    std::uint64_t digest = 0;
    std::uint64_t events = 0;
    std::vector<sim::Choice> choices;  // recorded when asked for
    std::string end;                   // see Rig::end(); only of workloads that are compared
    bool right() const { return failure.empty(); }
};

enum class Record : bool { no, yes };
enum class From : bool { start, checkpoint };  // the same run, at different cost

// One run under this schedule. Never throws: what goes wrong inside is the verdict.
Verdict run_once(const Workload& workload, std::uint64_t seed,
                 std::unique_ptr<sim::Schedule> schedule, Record record = Record::no,
                 From from = From::checkpoint, Checks checks = Checks::on);

}  // namespace hwmodels::campaign
