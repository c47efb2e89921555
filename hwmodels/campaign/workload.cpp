// SPDX-License-Identifier: Apache-2.0
#include "hwmodels/campaign/workload.hpp"

#include <map>
#include <optional>
#include <tuple>

#include "sim/arena.hpp"
#include "sim/check.hpp"
#include "sim/checkpoint.hpp"
#include "sim/mutant.hpp"

namespace hwmodels::campaign {
namespace {

constexpr std::uint64_t event_limit = 60'000;  // far beyond any workload's own

std::map<std::string, Workload, std::less<>>& registry() {
    static std::map<std::string, Workload, std::less<>> workloads;
    return workloads;
}

RigOptions rig_options(const Workload& workload, Checks checks) {
    RigOptions options;
    options.world.event_limit = event_limit;
    options.layer.limits = workload.limits;
    options.layer.check_drains = checks == Checks::on;
    options.cache = workload.cache;
    options.checks = checks;
    return options;
}

// Runs this part of the workload; what goes wrong is the verdict's failure.
template <class Body>
void run_part(Rig& rig, Verdict& verdict, Body body) {
    try {
        rig.world.run([&](sim::Co& co) { body(rig, co); });
    } catch (const std::exception& broken) {
        const sim::Arena::Outside outside;
        verdict.failure = broken.what();
    }
}

void prepare(const Workload& workload, Rig& rig, Verdict& verdict) {
    rig.preparing = true;
    if (workload.prepare != nullptr) run_part(rig, verdict, workload.prepare);
    rig.preparing = false;
    verdict.digest = rig.world.trace().digest();
    verdict.events = rig.world.events_run();
}

void run(const Workload& workload, Rig& rig, std::uint64_t seed,
         std::unique_ptr<sim::Schedule> schedule, Record record, Verdict& verdict) {
    rig.world.begin(seed, std::move(schedule), record == Record::yes);
    run_part(rig, verdict, workload.run);
    const sim::Arena::Outside outside;
    verdict.digest = rig.world.trace().digest();
    verdict.events = rig.world.events_run();
    verdict.choices = rig.world.choices();
    if (workload.compared) verdict.end = rig.end();
}

// The world of workloads that begin alike after their preparation, in an arena of its own.
class Prepared {
public:
    Prepared(const Workload& workload, Checks checks) {
        {
            const sim::Arena::Use use(arena_);
            rig_ = new Rig(rig_options(workload, checks));
            campaign::prepare(workload, *rig_, prepared_);
        }
        if (!prepared_.right()) return;  // with a mutant on
        memory_ = rig_->machine->memory().save();
        checkpoint_.emplace(arena_, rig_->world);
    }
    Prepared(const Prepared&) = delete;
    Prepared& operator=(const Prepared&) = delete;
    ~Prepared() {
        // Not by its destructor: another mutant may be on by now.
        std::destroy_at(&rig_->machine->memory());
        if (checkpoint_) checkpoint_->drop_world();
    }

    Verdict run(const Workload& workload, std::uint64_t seed,
                std::unique_ptr<sim::Schedule> schedule, Record record) {
        Verdict verdict = prepared_;
        if (!verdict.right()) return verdict;
        {
            const sim::Arena::Use use(arena_);
            campaign::run(workload, *rig_, seed, std::move(schedule), record, verdict);
            schedule = rig_->world.end();
        }
        // What a run makes once for all, in a static object, would be gone now and then missing.
        if (runs_ < 16 || runs_ % 1024 == 0) INVARIANT(!arena_.held_by_statics());
        ++runs_;
        rig_->machine->memory().restore(memory_);
        checkpoint_->rewind();
        return verdict;
    }

private:
    sim::Arena arena_;
    Rig* rig_ = nullptr;
    Verdict prepared_;
    GuestMemory::Saved memory_;
    std::optional<sim::Checkpoint> checkpoint_;
    std::uint64_t runs_ = 0;
};

// What a preparation depends on. Not the workload itself, which may be gone by the next run.
struct Beginning {
    void (*prepare)(Rig&, sim::Co&);
    blocklayer::LayerLimits limits;
    sim::WriteCache cache;
    Checks checks;
    std::string mutant;  // the one that is on

    bool operator==(const Beginning& other) const {
        const auto values = [](const blocklayer::LayerLimits& limits) {
            const auto& [l2, refcounts, slots, chunk, memory] = limits;
            return std::tuple(l2, refcounts, slots, chunk, memory);
        };
        return prepare == other.prepare && values(limits) == values(other.limits) &&
               cache == other.cache && checks == other.checks && mutant == other.mutant;
    }
};

// One is kept for each name, with checks and without.
Prepared& prepared(const Workload& workload, Checks checks) {
    struct Known {
        Beginning beginning;
        std::unique_ptr<Prepared> prepared;
    };
    static std::map<std::pair<std::string, Checks>, Known> all;
    Known& known = all[{workload.name, checks}];
    Beginning beginning{workload.prepare, workload.limits, workload.cache, checks,
                        sim::current_mutant()};
    if (known.prepared == nullptr || !(known.beginning == beginning)) {
        // A run before, so that what is made only once is not made in the arena.
        (void)run_once(workload, 0, sim::fifo_schedule(), Record::no, From::start, checks);
        known = {std::move(beginning), nullptr};
        known.prepared = std::make_unique<Prepared>(workload, checks);
    }
    return *known.prepared;
}

// Never rewound: just the quicker heap. What a run makes once for all may lie in it.
sim::Arena& quick_heap() {
    static auto& arena = *new sim::Arena;
    return arena;
}

}  // namespace

WorkloadRegistration::WorkloadRegistration(Workload workload) {
    EXPECTS(workload.run != nullptr);
    std::string name = workload.name;
    const bool fresh = registry().emplace(std::move(name), std::move(workload)).second;
    EXPECTS(fresh);
}

const Workload* find_workload(std::string_view name) {
    const auto found = registry().find(name);
    return found == registry().end() ? nullptr : &found->second;
}

std::vector<const Workload*> all_workloads() {
    std::vector<const Workload*> all;
    for (const auto& [name, workload] : registry()) all.push_back(&workload);
    return all;
}

Verdict run_once(const Workload& workload, std::uint64_t seed,
                 std::unique_ptr<sim::Schedule> schedule, Record record, From from,
                 Checks checks) {
    const bool in_arena = sim::Arena::supported() && sim::Arena::current() == nullptr;
    if (workload.prepare != nullptr && from == From::checkpoint && in_arena)
        return prepared(workload, checks).run(workload, seed, std::move(schedule), record);
    Verdict verdict;
    std::optional<sim::Arena::Use> use;
    if (in_arena) use.emplace(quick_heap());
    Rig rig(rig_options(workload, checks));
    prepare(workload, rig, verdict);
    if (verdict.right()) run(workload, rig, seed, std::move(schedule), record, verdict);
    return verdict;
}

}  // namespace hwmodels::campaign
