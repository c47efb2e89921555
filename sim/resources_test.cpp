// SPDX-License-Identifier: Apache-2.0
// Holds:   disks, links and processors take size / bandwidth, shared fairly while several use them;
//          the world's timers keep their dates meanwhile; a process has one timed world.
// Method:  each timed world in a forked child, because there can be only one in a process.
#include "sim/resources.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <functional>

#include "sim/memory_store.hpp"
#include "sim/testing/catch.hpp"
#include "sim/world.hpp"

namespace sim {
namespace {

// What the body returns in a fresh process; an exception's text if it throws.
std::string in_child(const std::function<std::string()>& body) {
    int ends[2];
    REQUIRE(pipe(ends) == 0);
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        std::string text;
        try {
            text = body();
        } catch (const std::exception& error) {
            text = std::string("threw: ") + error.what();
        }
        const bool written = write(ends[1], text.data(), text.size()) >= 0;
        _exit(written ? 0 : 1);
    }
    close(ends[1]);
    std::string text;
    char buffer[512];
    for (ssize_t n; (n = read(ends[0], buffer, sizeof buffer)) > 0;)
        text.append(buffer, static_cast<std::size_t>(n));
    close(ends[0]);
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    CHECK(status == 0);
    return text;
}

PlatformSpec small_spec() {
    return {
        .hosts = {{"a", 1e9}, {"b", 1e9}, {"alone", 1e9}},
        .disks = {{"disk", "a", 500e6, 250e6, {}}},
        .links = {{"wire", 1e9, microseconds(10)}},
        .routes = {{"a", "b", {"wire"}}},
    };
}

struct Timed {
    World world{{.platform = Resources::from_spec(small_spec())}};
    Resources& host = *Resources::of(world);
    std::string log;
    void note(Co& co, const char* what) {
        // SimGrid may end an operation a nanosecond early after its run was cut in pieces.
        log += fmt::format("{}@{} ", what, (co.world().now().ns + 5) / 10 * 10);
    }
};

TEST_CASE("resources: sizes over bandwidths, in nanoseconds") {
    CHECK(in_child([] {
        Timed t;
        t.world.run([&](Co& co) {
            t.host.disk_read(co, "disk", 4096);
            t.note(co, "read");
            t.host.disk_write(co, "disk", 1'000'000);
            t.note(co, "write");
            co.sleep(seconds(1));  // the engine's clock does not follow
            t.host.transfer(co, "a", "b", 1'000'000);
            t.note(co, "transfer");
            t.host.compute(co, "b", 1e6);
            t.note(co, "compute");
            t.host.transfer(co, "a", "a", 1'000'000);
            t.note(co, "local");
        });
        return t.log + fmt::format("engine@{:.9f}", t.host.engine_seconds());
    }) == "read@8190 write@4008190 transfer@1005018190 compute@1006018190 local@1006018190 "
          "engine@0.006018192");
}

TEST_CASE("resources: two readers share a disk, a timer keeps its date among them") {
    CHECK(in_child([] {
        Timed t;
        const auto reader = [&](const char* name, std::uint64_t bytes) {
            t.world.spawn(t.world.main_thread(), "reader", [&t, name, bytes](Co& co) {
                t.host.disk_read(co, "disk", bytes);
                t.note(co, name);
            });
        };
        reader("long", 1'000'000);
        reader("short", 500'000);
        t.world.spawn(t.world.main_thread(), "timer", [&](Co& co) {
            co.sleep(nanoseconds(1'234'560));
            t.note(co, "timer");
        });
        t.world.run_until_idle();
        return t.log;
    }) == "timer@1234560 short@2000000 long@3000000 ");
}

TEST_CASE("resources: a memory file on a disk takes the disk's time") {
    CHECK(in_child([] {
        Timed t;
        MemoryStore store;
        auto file = *store.create("image");
        store.medium("image")->set_disk(&t.host.disk("disk"));
        t.world.run([&](Co& co) {
            std::vector<std::byte> data(65536);
            CHECK(file->write(co, 0, IoView(std::span<std::byte>(data))));
            t.note(co, "write");
        });
        return t.log;
    }) == "write@262140 ");
}

TEST_CASE("resources: a world that closes takes its operations along") {
    CHECK(in_child([] {
        Timed t;
        t.world.spawn(t.world.main_thread(), "reader", [&](Co& co) {
            t.host.disk_read(co, "disk", 1'000'000);
            t.note(co, "never");
        });
        t.world.advance(microseconds(10));
        return t.log + fmt::format("busy {} at {}", t.host.busy(), t.world.now().ns);
    }) == "busy true at 10000");
}

TEST_CASE("resources: a second timed world in one process is refused") {
    CHECK(in_child([] {
        const auto first = Resources::from_spec(workstation_spec());
        std::string text = fmt::format("{} ", fmt::join(first->disks(), ","));
        try {
            Resources::from_spec(workstation_spec());
        } catch (const SecondTimedWorld& refused) {
            text += std::string(refused.what()).find("fresh process") != std::string::npos
                        ? "refused"
                        : refused.what();
        }
        return text;
    }) == "hdd0,nvme0,remote0,sata0 refused");
}

TEST_CASE("resources: unknown names and senseless platforms are errors with a reason") {
    const auto refusal = [](void (*change)(PlatformSpec&)) {
        PlatformSpec spec = small_spec();
        change(spec);
        try {
            Resources::from_spec(spec);
        } catch (const PlatformError& error) {
            return std::string(error.what());
        }
        return std::string("accepted");
    };
    CHECK(refusal([](PlatformSpec& s) { s.hosts.clear(); }) == "a platform needs a host");
    CHECK(refusal([](PlatformSpec& s) { s.disks[0].host = "c"; }) ==
          "disk 'disk' is on an unknown host 'c'");
    CHECK(refusal([](PlatformSpec& s) { s.disks[0].read_bytes_per_second = 0; }) ==
          "disk 'disk' needs bandwidths above 0");
    CHECK(refusal([](PlatformSpec& s) { s.links[0].latency = nanoseconds(-1); }) ==
          "link 'wire' has a negative latency");
    CHECK(refusal([](PlatformSpec& s) { s.routes[0].links = {"rope"}; }) ==
          "a route takes an unknown link 'rope'");
    CHECK(refusal([](PlatformSpec& s) { s.hosts.push_back(s.hosts[0]); }) ==
          "two hosts are called 'a'");
    CHECK_THROWS_AS(Resources::from_xml("/nonexistent.xml"), PlatformError);

    CHECK(in_child([] {
        Timed t;
        t.world.run([&](Co& co) { t.host.disk_read(co, "tape", 1); });
        return std::string();
    }) == "threw: unknown disk 'tape'");
    CHECK(in_child([] {
        Timed t;
        t.world.run([&](Co& co) { t.host.transfer(co, "a", "alone", 1); });
        return std::string();
    }) == "threw: no route from 'a' to 'alone'");
}

TEST_CASE("resources: a platform from an XML file") {
    CHECK(in_child([] {
        char path[] = "/tmp/blockstep_platform_XXXXXX";
        const int made = mkstemp(path);
        close(made);
        std::ofstream(path) << R"(<?xml version='1.0'?>
<!DOCTYPE platform SYSTEM "https://simgrid.org/simgrid.dtd">
<platform version="4.1"><zone id="z" routing="Full"><host id="h" speed="1Gf">
<disk id="d" read_bw="100MBps" write_bw="50MBps"/></host></zone></platform>)";
        World world({.platform = Resources::from_xml(path)});
        unlink(path);
        world.run([](Co& co) { Resources::of(co.world())->disk_write(co, "d", 5000); });
        return fmt::format("{} {}", Resources::of(world)->hosts().front(), world.now().ns);
    }) == "h 100000");
    CHECK(in_child([] {
        char path[] = "/tmp/blockstep_platform_XXXXXX";
        const int made = mkstemp(path);
        close(made);
        std::ofstream(path) << "<platform version=\"4.1\"><host/></platform>";
        std::string text = "accepted";
        try {
            Resources::from_xml(path);
        } catch (const PlatformError&) {
            text = "refused";
        }
        unlink(path);
        return text;
    }) == "refused");
}

}  // namespace
}  // namespace sim
