// SPDX-License-Identifier: Apache-2.0
#include "hwmodels/campaign/guest_load.hpp"

#include <fmt/format.h>

#include <cstring>

#include "sim/arena.hpp"

namespace hwmodels::campaign {
namespace {

constexpr std::uint64_t sector = guest::ContentOracle::sector_bytes;

// The names under which an explorer leaves requests out; the same for every load.
sim::Label operation_label(unsigned number) {
    static const std::vector<sim::Label> labels = [] {
        const sim::Arena::Outside outside;
        std::vector<sim::Label> all;
        for (unsigned i = 0; i < 64; ++i)
            all.push_back(sim::Label::interned(fmt::format("guest request {}", i)));
        return all;
    }();
    return labels[number % labels.size()];
}

class Load {
public:
    Load(Rig& rig, std::string id, unsigned process, const LoadOptions& options)
        : rig_(rig),
          id_(std::move(id)),
          random_(rig.world.rng(fmt::format("load {} {}", id_, process))),
          options_(options),
          data_(options.longest) {
        // What a guest never does leaves room for the rest of what it does.
        if (!rig.world.feature("guest reads")) options_.reads = 0;
        if (!rig.world.feature("guest zeroes")) options_.zeroes = 0;
        if (!rig.world.feature("guest discards")) options_.discards = 0;
        if (!rig.world.feature("guest flushes")) options_.flushes = 0;
    }

    void run(sim::Co& co) {
        for (unsigned i = 0; i < options_.operations || (options_.until && !*options_.until); ++i) {
            if (rig_.power_is_off()) return;
            if (i >= options_.operations) co.sleep(sim::milliseconds(1));
            // A request of its own stream: one that is left out shifts no other.
            sim::RandomStream random(random_.next(), "guest request");
            if (i < options_.operations && !rig_.world.keep(operation_label(i))) continue;
            if (options_.think > 0)
                co.yield("guest process thinks", random.below(options_.think));
            if (rig_.power_is_off()) return;
            const sim::IoStatus status = one(co, random);
            if (!status && !options_.errors_allowed && !rig_.power_is_off())
                Rig::fail(fmt::format("a guest request on '{}' failed with {}", id_,
                                      sim::errno_text(status.error())));
        }
    }

private:
    sim::IoStatus one(sim::Co& co, sim::RandomStream& random) {
        guest::CheckedDisk& disk = rig_.disk(id_);
        const std::uint64_t length = (1 + random.below(options_.longest / sector)) * sector;
        const std::uint64_t places = (options_.area - length) / sector + 1;
        const std::uint64_t offset =
            random.below(places) * sector + random.below(options_.pieces) * options_.stride;
        const auto part = std::span(data_).first(length);
        std::uint64_t kind = random.below(16);
        const auto is = [&](unsigned chances) {
            if (kind < chances) return true;
            kind -= chances;
            return false;
        };
        if (is(options_.reads)) return disk.read(co, offset, part);
        if (is(options_.zeroes)) return disk.write_zeroes(co, offset, length, random.chance(1, 2));
        if (is(options_.discards)) return disk.discard(co, offset, length);
        if (is(options_.flushes)) return disk.flush(co);
        for (std::uint64_t at = 0; at < length; at += sizeof(std::uint64_t)) {
            const std::uint64_t word = at % sector == 0 ? random.next() : at;
            std::memcpy(data_.data() + at, &word, sizeof word);
        }
        return disk.write(co, offset, part);
    }

    Rig& rig_;
    std::string id_;
    sim::RandomStream& random_;
    LoadOptions options_;
    std::vector<std::byte> data_;
};

}  // namespace

void start_load(Rig& rig, const std::string& id, unsigned process, LoadOptions options) {
    rig.spawn(
        "guest load",
        [load = Load(rig, id, process, options)](sim::Co& co) mutable { load.run(co); },
        sim::Place::named("guest process", fmt::format("{} {}", id, process)));
}

}  // namespace hwmodels::campaign
