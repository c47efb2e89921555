// SPDX-License-Identifier: Apache-2.0
// The only user of SimGrid's engine. Doubles stay in here: what leaves is integer nanoseconds.
#include "sim/resources.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <filesystem>
#include <map>
#include <set>

#include <simgrid/s4u.hpp>

#include "sim/check.hpp"
#include "sim/world.hpp"

namespace sim {
namespace {

namespace s4u = simgrid::s4u;

constexpr double ns_per_second = 1e9;

// An operation under way; lives on the stack of the fiber that waits for it.
struct Operation {
    s4u::ActivityPtr activity;
    Fiber* fiber;
};

// SimGrid takes over two signals when it starts, which are the program's (and Python's) to handle.
class KeepSignalHandlers {
public:
    KeepSignalHandlers() {
        sigaction(SIGINT, nullptr, &interrupt_);
        sigaction(SIGSEGV, nullptr, &fault_);
    }
    ~KeepSignalHandlers() {
        sigaction(SIGINT, &interrupt_, nullptr);
        sigaction(SIGSEGV, &fault_, nullptr);
    }

private:
    struct sigaction interrupt_ {}, fault_{};
};

s4u::Engine& only_engine() {
    static bool taken = false;
    if (std::exchange(taken, true) || s4u::Engine::has_instance()) throw SecondTimedWorld();
    const KeepSignalHandlers keep;
    static std::string arguments[] = {"blockstep", "--log=root.thresh:warning",
                                      // Seconds: finer than a nanosecond, the world's unit.
                                      "--cfg=surf/precision:1e-10",
                                      // Bandwidth and latency as given, without TCP's factors.
                                      "--cfg=network/model:CM02", "--cfg=network/TCP-gamma:0",
                                      "--cfg=network/crosstraffic:0"};
    static char* argv[std::size(arguments) + 1] = {};
    for (std::size_t i = 0; i < std::size(arguments); ++i) argv[i] = arguments[i].data();
    int argc = std::size(arguments);
    return *new s4u::Engine(&argc, argv);  // never destroyed: nothing may follow it
}

void require(bool condition, const std::string& otherwise) {
    if (!condition) throw PlatformError(otherwise);
}

void check(const PlatformSpec& spec) {
    const auto positive = [](double value) { return std::isfinite(value) && value > 0; };
    std::set<std::string> hosts, disks, links;
    require(!spec.hosts.empty(), "a platform needs a host");
    for (const HostSpec& host : spec.hosts) {
        require(hosts.insert(host.name).second, "two hosts are called '" + host.name + "'");
        require(positive(host.flops_per_second), "host '" + host.name + "' needs a speed above 0");
    }
    for (const DiskSpec& disk : spec.disks) {
        require(disks.insert(disk.name).second, "two disks are called '" + disk.name + "'");
        require(hosts.contains(disk.host),
                "disk '" + disk.name + "' is on an unknown host '" + disk.host + "'");
        require(positive(disk.read_bytes_per_second) && positive(disk.write_bytes_per_second),
                "disk '" + disk.name + "' needs bandwidths above 0");
        require(disk.latency.ns >= 0, "disk '" + disk.name + "' has a negative latency");
    }
    for (const LinkSpec& link : spec.links) {
        require(links.insert(link.name).second, "two links are called '" + link.name + "'");
        require(positive(link.bytes_per_second),
                "link '" + link.name + "' needs a bandwidth above 0");
        require(link.latency.ns >= 0, "link '" + link.name + "' has a negative latency");
    }
    for (const RouteSpec& route : spec.routes) {
        for (const std::string& end : {route.from, route.to})
            require(hosts.contains(end), "a route ends at an unknown host '" + end + "'");
        require(route.from != route.to, "a route leads from '" + route.from + "' to itself");
        require(!route.links.empty(),
                "the route from '" + route.from + "' to '" + route.to + "' has no link");
        for (const std::string& link : route.links)
            require(links.contains(link), "a route takes an unknown link '" + link + "'");
    }
}

}  // namespace

SecondTimedWorld::SecondTimedWorld()
    : PlatformError(
          "this process has had a world with host resources already, and SimGrid's clock cannot "
          "go back: run each such world in a fresh process") {}

struct Resources::Engine {
    explicit Engine(s4u::Engine& of) : engine(of) {
        current = this;
        engine.track_vetoed_activities(&stop);
        // Fires in the middle of a round; a non-empty `stop` ends the engine's run after it.
        s4u::Activity::on_completion_cb([](const s4u::Activity& activity) {
            if (current != nullptr) current->completed(activity);
        });
    }
    ~Engine() { current = nullptr; }

    void completed(const s4u::Activity& activity) {
        const auto found = std::find_if(running.begin(), running.end(), [&](const Operation* o) {
            return o->activity.get() == &activity;
        });
        if (found == running.end()) return;  // given up: its world closes
        (*found)->activity->get_state() == s4u::Activity::State::FINISHED
            ? finished.push_back(*found)
            : failed.push_back(*found);
        stop.insert((*found)->activity.get());
    }

    template <class Activity>
    void await(Co& co, const Activity& activity, Label why) {
        if (running.empty()) {  // the engine's clock stood still: from here the two go together
            origin = co.world().now();
            origin_seconds = s4u::Engine::get_clock();
        }
        Operation operation{activity, &co.fiber()};
        running.push_back(&operation);
        struct Forget {
            Engine& engine;
            Operation& operation;
            ~Forget() {
                std::erase(engine.running, &operation);
                if (operation.fiber != nullptr) operation.activity->cancel();
            }
        } const forget{*this, operation};
        activity->start();
        co.park(why);
    }

    void add_disk(s4u::Disk* disk, Duration latency);
    s4u::Host& host(std::string_view name) const {
        s4u::Host* host = s4u::Host::by_name_or_null(std::string(name));
        if (host == nullptr) throw PlatformError(fmt::format("unknown host '{}'", name));
        return *host;
    }

    static inline Engine* current = nullptr;
    struct Disk;
    s4u::Engine& engine;
    std::map<std::string, std::unique_ptr<Disk>, std::less<>> disks;
    std::vector<Operation*> running;  // in the order they were started
    std::vector<Operation*> finished;
    std::vector<Operation*> failed;
    std::set<s4u::Activity*> stop;  // SimGrid's type; never iterated
    Instant origin;                 // the world's date when the engine's was origin_seconds
    double origin_seconds = 0;
};

struct Resources::Engine::Disk final : DiskTime {
    Disk(Engine& owner, s4u::Disk* of, Duration before)
        : engine(owner), disk(of), latency(before) {}

    void read(Co& co, std::uint64_t bytes) override { move(co, s4u::Io::OpType::READ, bytes); }
    void write(Co& co, std::uint64_t bytes) override { move(co, s4u::Io::OpType::WRITE, bytes); }

    void move(Co& co, s4u::Io::OpType direction, std::uint64_t bytes) {
        if (latency.ns > 0) co.sleep(latency);
        if (bytes == 0) {
            co.yield("disk");
            return;
        }
        s4u::IoPtr io = s4u::Io::init();
        io->set_disk(disk)->set_size(bytes)->set_op_type(direction);
        engine.await(co, io, "disk");
    }

    Engine& engine;
    s4u::Disk* disk;
    Duration latency;
};

void Resources::Engine::add_disk(s4u::Disk* disk, Duration latency) {
    const std::string name = disk->get_name();
    require(!disks.contains(name), "two disks are called '" + name + "'");
    disks.emplace(name, std::make_unique<Disk>(*this, disk, latency));
}

Resources::Resources(std::unique_ptr<Engine> engine) : engine_(std::move(engine)) {}
Resources::~Resources() = default;

std::unique_ptr<Resources> Resources::from_spec(const PlatformSpec& spec) {
    check(spec);
    auto engine = std::make_unique<Engine>(only_engine());
    try {
        s4u::NetZone* zone = s4u::create_full_zone("world");
        for (const HostSpec& host : spec.hosts) zone->create_host(host.name, host.flops_per_second);
        for (const DiskSpec& disk : spec.disks)
            engine->add_disk(engine->host(disk.host).create_disk(
                                 disk.name, disk.read_bytes_per_second,
                                 disk.write_bytes_per_second),
                             disk.latency);
        for (const LinkSpec& link : spec.links)
            zone->create_link(link.name, link.bytes_per_second)
                ->set_latency(static_cast<double>(link.latency.ns) / ns_per_second);
        for (const RouteSpec& route : spec.routes) {
            std::vector<s4u::LinkInRoute> links;
            for (const std::string& link : route.links)
                links.emplace_back(s4u::Link::by_name(link));
            zone->add_route(engine->host(route.from).get_netpoint(),
                            engine->host(route.to).get_netpoint(), nullptr, nullptr, links);
        }
        zone->seal();
    } catch (const PlatformError&) {
        throw;
    } catch (const std::exception& error) {
        throw PlatformError(std::string("SimGrid refuses the platform: ") + error.what());
    }
    return std::unique_ptr<Resources>(new Resources(std::move(engine)));
}

std::unique_ptr<Resources> Resources::from_xml(const std::string& path) {
    std::error_code ignored;
    require(std::filesystem::is_regular_file(path, ignored), "no platform file '" + path + "'");
    auto engine = std::make_unique<Engine>(only_engine());
    try {
        engine->engine.load_platform(path);
        for (s4u::Host* host : engine->engine.get_all_hosts())
            for (s4u::Disk* disk : host->get_disks()) engine->add_disk(disk, {});
    } catch (const PlatformError&) {
        throw;
    } catch (const std::exception& error) {
        throw PlatformError("platform file '" + path + "': " + error.what());
    }
    return std::unique_ptr<Resources>(new Resources(std::move(engine)));
}

Resources* Resources::of(World& world) { return dynamic_cast<Resources*>(world.platform()); }

std::vector<std::string> Resources::hosts() const {
    std::vector<std::string> names;
    for (const s4u::Host* host : engine_->engine.get_all_hosts()) names.push_back(host->get_name());
    std::sort(names.begin(), names.end());
    return names;
}

std::vector<std::string> Resources::disks() const {
    std::vector<std::string> names;
    for (const auto& [name, disk] : engine_->disks) names.push_back(name);
    return names;
}

DiskTime& Resources::disk(std::string_view name) {
    const auto found = engine_->disks.find(name);
    if (found == engine_->disks.end())
        throw PlatformError(fmt::format("unknown disk '{}'", name));
    return *found->second;
}

void Resources::disk_read(Co& co, std::string_view name, std::uint64_t bytes) {
    disk(name).read(co, bytes);
}

void Resources::disk_write(Co& co, std::string_view name, std::uint64_t bytes) {
    disk(name).write(co, bytes);
}

void Resources::transfer(Co& co, std::string_view from, std::string_view to, std::uint64_t bytes) {
    s4u::Host& source = engine_->host(from);
    s4u::Host& target = engine_->host(to);
    std::vector<s4u::Link*> links;
    if (&source != &target) {
        try {
            source.route_to(&target, links, nullptr);
        } catch (const std::exception&) {
            links.clear();
        }
        require(!links.empty(), fmt::format("no route from '{}' to '{}'", from, to));
    }
    if (links.empty()) {  // within one host
        co.yield("transfer");
        return;
    }
    s4u::CommPtr comm = s4u::Comm::sendto_init(&source, &target);
    comm->set_payload_size(std::max<std::uint64_t>(bytes, 1));  // an empty one takes the latency
    engine_->await(co, comm, "transfer");
}

void Resources::compute(Co& co, std::string_view host, double flops) {
    EXPECTS(std::isfinite(flops) && flops >= 0);
    s4u::Host& on = engine_->host(host);
    if (flops == 0) {
        co.yield("compute");
        return;
    }
    s4u::ExecPtr exec = s4u::Exec::init();
    exec->set_host(&on)->set_flops_amount(flops);
    engine_->await(co, exec, "compute");
}

bool Resources::busy() const { return !engine_->running.empty(); }

double Resources::engine_seconds() const { return s4u::Engine::get_clock(); }

Instant Resources::advance(Instant now, Instant limit) {
    EXPECTS(busy());
    Engine& own = *engine_;
    const auto date = [&] {
        const double passed = s4u::Engine::get_clock() - own.origin_seconds;
        return own.origin + Duration{std::llround(passed * ns_per_second)};
    };
    const double target =
        own.origin_seconds + static_cast<double>((limit - own.origin).ns) / ns_per_second;
    while (own.finished.empty() && own.failed.empty()) {
        const double before = s4u::Engine::get_clock();
        if (limit != Instant::never() && before >= target) return limit;
        own.stop.clear();
        if (limit == Instant::never())
            own.engine.run();
        else
            own.engine.run_until(target);
        const bool stands = s4u::Engine::get_clock() == before;
        if (stands && own.finished.empty() && own.failed.empty()) {
            INVARIANT(limit != Instant::never());  // something under way never ends
            return limit;
        }
    }
    INVARIANT(own.failed.empty());
    // Woken in the order they were started: who runs first is the schedule's choice.
    for (Operation* operation : own.running) {
        if (std::find(own.finished.begin(), own.finished.end(), operation) == own.finished.end())
            continue;
        std::exchange(operation->fiber, nullptr)->wake();
    }
    std::erase_if(own.running, [](const Operation* o) { return o->fiber == nullptr; });
    own.finished.clear();
    return std::clamp(date(), now, limit);
}

}  // namespace sim
