// SPDX-License-Identifier: Apache-2.0
// What a guest's request costs: 4 KiB at random places, 32 at once, from the guest's ring to the
// medium and back, with permissions enforced. units: requests per CPU second.
#include <cstdio>
#include <memory>
#include <string>

#include "blocklayer/drivers/driver.hpp"
#include "blocklayer/layer.hpp"
#include "hwmodels/campaign/image_maker.hpp"
#include "hwmodels/guest/virtio_blk.hpp"
#include "hwmodels/machine.hpp"
#include "sim/memory_store.hpp"
#include "sim/testing/bench.hpp"

namespace hwmodels {
namespace {

using blocklayer::Value;
using guest::BlkOp;
using sim::testing::BenchReport;

constexpr std::uint64_t disk_bytes = 64 << 20, request_bytes = 4096;
constexpr std::uint32_t depth = 32;
constexpr std::uint64_t warm_up = 20'000, requests = 400'000;

// A guest that keeps `depth` requests under way: each answer sends the next.
class Load {
public:
    Load(guest::VirtioBlk& disk, BlkOp op, sim::RandomStream& random)
        : disk_(disk),
          op_(op),
          random_(random),
          data_(guest::heap_of(disk.transport().machine()).take(depth * request_bytes)) {
        disk_.set_handler([this](std::uint64_t tag, std::uint8_t status) {
            failed_ += status != 0 ? 1 : 0;
            ++done_;
            if (sent_ < wanted_) send(tag);
        });
    }
    ~Load() {
        disk_.set_handler({});
        guest::heap_of(disk_.transport().machine()).give_back(data_);
    }
    Load(const Load&) = delete;
    Load& operator=(const Load&) = delete;

    void run(sim::World& world, std::uint64_t count) {
        sent_ = done_ = 0;
        wanted_ = count;
        for (std::uint64_t tag = 0; tag < depth; ++tag) send(tag);
        disk_.kick(0);
        world.run_until([&] { return done_ == wanted_; });
    }
    std::uint64_t failed() const { return failed_; }

private:
    void send(std::uint64_t tag) {
        const std::uint64_t at = random_.below(disk_bytes / request_bytes) * request_bytes;
        disk_.submit(0, op_, at, data_ + tag * request_bytes, request_bytes, tag);
        ++sent_;
        if (sent_ % 8 == 0 || sent_ == wanted_) disk_.kick(0);
    }

    guest::VirtioBlk& disk_;
    BlkOp op_;
    sim::RandomStream& random_;
    GuestAddress data_;
    std::uint64_t sent_ = 0, done_ = 0, wanted_ = 0, failed_ = 0;
};

class Bench {
public:
    // options of the node "disk"; every cluster of it is written once.
    explicit Bench(const Value& options) : layer_(world_, store_) {
        world_.run([&](sim::Co& co) {
            if (const Value* file = options.find("file")) {
                const std::string& name = file->at("filename").as_string();
                store_.put(name, campaign::make_image({.file = name,
                                                       .format = options.at("driver").as_string(),
                                                       .size = disk_bytes}));
            }
            check(layer_.add_monitor_node(co, options), "blockdev-add");
            Machine& machine = Machine::of(layer_);
            check(machine.add_device(
                      co,
                      Value::dict({{"driver", "virtio-blk-pci"}, {"id", "d"}, {"drive", "disk"}})),
                  "device_add");
            machine.resume();
            auto disk = guest::VirtioBlk::attach(co, machine, "d");
            check(disk, "attach");
            disk_ = *std::move(disk);
            std::vector<std::byte> data(1 << 20, std::byte{0x5a});
            for (std::uint64_t at = 0; at < disk_bytes; at += data.size())
                if (!disk_->write(co, at, data)) std::fprintf(stderr, "filling failed\n");
        });
    }
    ~Bench() {
        disk_.reset();
        world_.close();
    }
    Bench(const Bench&) = delete;
    Bench& operator=(const Bench&) = delete;

    void measure(BenchReport& report, const std::string& name, BlkOp op) {
        Load load(*disk_, op, world_.rng(name));
        load.run(world_, warm_up);
        const sim::testing::CpuTimer timer;
        load.run(world_, requests);
        const double rate = static_cast<double>(requests) / timer.seconds();
        if (load.failed() != 0) std::fprintf(stderr, "%s: requests failed\n", name.c_str());
        report.row(name, rate, "requests/CPU-s");
    }

private:
    template <class Result>
    static void check(const Result& result, const char* what) {
        if (!result) std::fprintf(stderr, "%s: %s\n", what, result.error().text.c_str());
        EXPECTS(result.has_value());
    }

    sim::World world_;
    sim::MemoryStore store_;
    blocklayer::BlockLayer layer_;
    std::unique_ptr<guest::VirtioBlk> disk_;
};

Value over_file(const char* driver) {
    return Value::dict({{"driver", driver},
                        {"node-name", "disk"},
                        {"file", Value::dict({{"driver", "file"}, {"filename", "disk.img"}})}});
}

void both(BenchReport& report, const std::string& name, const Value& options) {
    Bench bench(options);
    bench.measure(report, "virtio-blk " + name + " read", BlkOp::read);
    bench.measure(report, "virtio-blk " + name + " overwrite", BlkOp::write);
}

const sim::testing::BenchRegistration null_bench("virtio-blk null-co", [](BenchReport& report) {
    both(report, "null-co",
         Value::dict({{"driver", "null-co"}, {"node-name", "disk"}, {"size", disk_bytes}}));
});
const sim::testing::BenchRegistration raw_bench("virtio-blk raw", [](BenchReport& report) {
    both(report, "raw", over_file("raw"));
});
const sim::testing::BenchRegistration qcow2_bench("virtio-blk qcow2", [](BenchReport& report) {
    if (blocklayer::find_driver("qcow2") != nullptr) both(report, "qcow2", over_file("qcow2"));
});

}  // namespace
}  // namespace hwmodels
