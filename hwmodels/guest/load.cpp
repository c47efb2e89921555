// SPDX-License-Identifier: Apache-2.0
#include "hwmodels/guest/load.hpp"

#include <fmt/format.h>

#include <cstring>

#include "sim/arena.hpp"
#include "sim/check.hpp"

namespace hwmodels::guest {
namespace {

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

}  // namespace

Load::Load(sim::World& world, const std::string& name, unsigned process,
           const LoadOptions& options, Disk disk)
    : world_(&world),
      random_(&world.rng("load " + name + ' ' + std::to_string(process))),
      options_(options),
      disk_(std::move(disk)),
      data_(options.longest) {
    EXPECTS(options.unit % ContentOracle::sector_bytes == 0 && options.longest >= options.unit);
    EXPECTS(options.area >= options.longest && options.pieces > 0);
    // What a guest never does leaves room for the rest of what it does.
    if (!world.feature("guest reads")) options_.reads = 0;
    if (!world.feature("guest zeroes")) options_.zeroes = 0;
    if (!world.feature("guest discards")) options_.discards = 0;
    if (!world.feature("guest flushes")) options_.flushes = 0;
}

sim::IoStatus Load::run(sim::Co& co) {
    for (unsigned i = 0; i < options_.operations || (options_.until && !*options_.until); ++i) {
        const bool extra = i >= options_.operations;
        const auto gone = [&] { result_.cut_off = extra ? 0 : options_.operations - i; };
        if (disk_() == nullptr) return gone(), sim::IoStatus{};
        if (extra) co.sleep(sim::milliseconds(1));
        // A request of its own stream: one that is left out shifts no other.
        constexpr std::uint64_t name = sim::hash_text("guest request");
        sim::RandomStream random(random_->next() ^ name);
        if (!extra && !world_->keep(operation_label(i))) {
            ++result_.left_out;
            continue;
        }
        if (options_.think > 0) co.yield("guest process thinks", random.below(options_.think));
        CheckedDisk* const disk = disk_();
        if (disk == nullptr) return gone(), sim::IoStatus{};
        const sim::IoStatus status = one(co, *disk, random);
        if (!status && options_.ends_with_disk && status.error() == sim::Errno::no_medium) {
            --result_.failed;
            return gone(), sim::IoStatus{};
        }
        if (!status && !options_.errors_allowed && disk_() != nullptr) return status;
    }
    return {};
}

sim::IoStatus Load::one(sim::Co& co, CheckedDisk& disk, sim::RandomStream& random) {
    const std::uint64_t unit = options_.unit;
    const std::uint64_t length = (1 + random.below(options_.longest / unit)) * unit;
    const std::uint64_t places = (options_.area - length) / unit + 1;
    const std::uint64_t offset =
        random.below(places) * unit + random.below(options_.pieces) * options_.stride;
    const auto part = std::span(data_).first(length);
    std::uint64_t kind = random.below(16);
    const auto is = [&](unsigned chances) {
        if (kind < chances) return true;
        kind -= chances;
        return false;
    };
    if (is(options_.reads)) return count(result_.reads, disk.read(co, offset, part));
    if (is(options_.zeroes))
        return count(result_.zeroes, disk.write_zeroes(co, offset, length, random.chance(1, 2)));
    if (is(options_.discards)) return count(result_.discards, disk.discard(co, offset, length));
    if (is(options_.flushes)) return count(result_.flushes, disk.flush(co));
    // No sector like another; what follows its first word tells where it belongs.
    const auto put = [&](std::uint64_t at, std::uint64_t word) {
        std::memcpy(data_.data() + at, &word, sizeof word);
    };
    for (std::uint64_t at = 0; at < length; at += sizeof(std::uint64_t)) put(at, at);
    for (std::uint64_t at = 0; at < length; at += ContentOracle::sector_bytes)
        put(at, random.next());
    return count(result_.writes, disk.write(co, offset, part));
}

sim::IoStatus Load::count(std::uint64_t& ended, sim::IoStatus status) {
    ++(status ? ended : result_.failed);
    return status;
}

}  // namespace hwmodels::guest
