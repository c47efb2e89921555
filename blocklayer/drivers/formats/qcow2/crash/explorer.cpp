// SPDX-License-Identifier: Apache-2.0
#include "blocklayer/drivers/formats/qcow2/crash/explorer.hpp"

#include <algorithm>

#include "blocklayer/drivers/formats/qcow2/crash/watched_store.hpp"
#include "blocklayer/graph/backend.hpp"
#include "sim/check.hpp"

namespace blocklayer::qcow2::crash {
namespace {

constexpr const char* image_name = "image.qcow2";
constexpr std::size_t failures_max = 20;
constexpr std::uint64_t transfer_bytes = 256 * 1024;

const Claim claim = {.used = Perm::consistent_read | Perm::write | PermSet(Perm::resize),
                     .shared = PermSet::all()};

std::vector<std::byte> bytes_of(const sim::ByteImage& image) {
    std::vector<std::byte> bytes(image.size());
    image.read(0, bytes);
    return bytes;
}

void apply(std::vector<std::byte>& image, const sim::PendingWrite& write, std::size_t piece) {
    auto [begin, end] = write.piece(piece);
    if (write.op == sim::HostOp::truncate) {
        image.resize(write.offset);
        return;
    }
    if (write.op == sim::HostOp::discard) end = std::min<std::uint64_t>(end, image.size());
    if (begin >= end) return;
    if (end > image.size()) image.resize(end);
    const auto to = image.begin() + static_cast<std::ptrdiff_t>(begin);
    if (write.op == sim::HostOp::write)
        std::copy_n(write.data.begin() + static_cast<std::ptrdiff_t>(begin - write.offset),
                    end - begin, to);
    else
        std::fill_n(to, end - begin, std::byte{0});
}

std::string text_of(const std::vector<bool>& kept) {
    std::string text;
    for (const bool one : kept) text += one ? '1' : '0';
    return text;
}

}  // namespace

std::uint64_t workloads_of(unsigned length) {
    std::uint64_t count = 1;
    for (unsigned i = 0; i < length; ++i) count *= operations().size();
    return count;
}

std::vector<const Operation*> workload_of(std::uint64_t number, unsigned length) {
    std::vector<const Operation*> workload;
    for (unsigned i = 0; i < length; ++i) {
        workload.push_back(&operations()[number % operations().size()]);
        number /= operations().size();
    }
    return workload;
}

Explorer::Explorer(const Configuration& configuration, Limits limits)
    : configuration_(configuration),
      limits_(limits),
      first_expected_(0),
      random_(1, configuration.name) {
    sim::MemoryStore store;
    first_expected_ = prepare(configuration, store);
    first_ = store.snapshot();
    scratch_.restore(first_);
}

std::vector<std::byte> Explorer::first_contents() const {
    return bytes_of(first_.find(image_name)->second);
}

// ---- living ----

std::vector<Explorer::Moment> Explorer::live(const std::vector<const Operation*>& workload) {
    sim::MemoryStore disk(sim::WriteCache::volatile_);
    disk.restore(first_);
    std::vector<Moment> moments;
    Expectation expected = first_expected_;
    const auto remember = [&](bool everything) {
        const sim::MemoryMedium& medium = *disk.medium(image_name);
        moments.push_back({moments.size(), everything, bytes_of(medium.durable()),
                           medium.pending(), expected});
    };
    WatchedStore store(disk, [&] { remember(false); });
    sim::World world;
    BlockLayer layer(world, store);
    world.run([&](sim::Co& co) {
        NodeRef node = *layer.open(co, open_options(configuration_, false));
        const auto backend = BlockBackend::make(layer, claim);
        const Status inserted = backend->insert(*node);
        INVARIANT(inserted.has_value());
        Performer performer(configuration_, *backend, expected);
        for (std::size_t i = 0; i < workload.size(); ++i) {
            performer.perform(co, *workload[i], static_cast<Tag>(tag_operation + i));
            if (workload[i]->kind == Operation::Kind::flush) remember(true);
        }
        backend->remove();
        node = NodeRef();
        layer.shut_down(co);  // which leaves everything on stable storage
        expected.flushed();
        remember(true);
    });
    return moments;
}

void Explorer::explore(const std::vector<const Operation*>& workload) {
    operations_.clear();
    for (const Operation* operation : workload)
        operations_ += (operations_.empty() ? "" : ",") + std::string(operation->name);
    ++counts_.workloads;
    for (const Moment& moment : live(workload)) {
        ++counts_.moments;
        look_at(moment);
    }
}

// ---- looking ----

void Explorer::look_at(const Moment& moment) {
    std::vector<std::size_t> first_piece;  // of each write, and one past the last
    std::size_t pieces = 0;
    for (const sim::PendingWrite& write : moment.pending) {
        first_piece.push_back(pieces);
        pieces += write.pieces();
    }
    first_piece.push_back(pieces);
    const std::size_t newest = moment.pending.empty() ? 0 : first_piece[moment.pending.size() - 1];
    std::vector<bool> kept(pieces);
    const auto look = [&] {
        const bool has_newest =
            std::find(kept.begin() + static_cast<std::ptrdiff_t>(newest), kept.end(), true) !=
            kept.end();
        if (has_newest || moment.everything) look_at(moment, kept);
    };
    if (pieces <= limits_.pieces_max) {
        for (std::uint64_t subset = 0; subset < 1ull << pieces; ++subset) {
            for (std::size_t i = 0; i < pieces; ++i) kept[i] = (subset >> i & 1) != 0;
            look();
        }
        return;
    }
    const std::size_t writes = moment.pending.size();
    const std::size_t apart = std::min(writes, limits_.writes_max);
    for (std::uint64_t subset = 0; subset < 2ull << apart; ++subset) {
        // The last bit stands for all the older writes.
        for (std::size_t i = 0; i < writes; ++i) {
            const std::size_t bit = std::min(writes - 1 - i, apart);
            for (std::size_t j = first_piece[i]; j < first_piece[i + 1]; ++j)
                kept[j] = (subset >> bit & 1) != 0;
        }
        look();
    }
    for (const bool others : {false, true})
        for (std::size_t torn = newest; torn < pieces; ++torn)
            for (const bool alone : {false, true}) {
                std::fill(kept.begin(), kept.end(), others);
                for (std::size_t j = newest; j < pieces; ++j) kept[j] = (j == torn) == alone;
                look();
            }
    for (std::size_t i = 0; i < limits_.random_states; ++i) {
        for (std::size_t j = 0; j < pieces; ++j) kept[j] = random_.chance(1, 2);
        look();
    }
}

void Explorer::look_at(const Moment& moment, const std::vector<bool>& kept) {
    ++counts_.states;
    std::vector<std::byte> contents = moment.durable;
    std::size_t flag = 0;
    for (const sim::PendingWrite& write : moment.pending)
        for (std::size_t i = 0; i < write.pieces(); ++i)
            if (kept[flag++]) apply(contents, write, i);
    const std::uint64_t state = hash_bytes(contents, moment.expected.hash());
    if (!seen_.insert(state).second) return;
    ++counts_.distinct;
    go_on_next_ = state % 8 == 0;
    if (std::string what = judge(contents, moment.expected); !what.empty())
        fail(moment, kept, std::move(what));
}

void Explorer::fail(const Moment& moment, const std::vector<bool>& kept, std::string what) {
    if (failures_.size() < failures_max)
        failures_.push_back({operations_, moment.number, text_of(kept), std::move(what)});
}

// ---- judging ----

std::string Explorer::judge(const std::vector<std::byte>& contents, const Expectation& expected) {
    sim::ByteImage image;
    image.write(0, contents);
    scratch_.put(image_name, std::move(image));
    sim::World world;
    BlockLayer layer(world, scratch_);
    return world.run([&](sim::Co& co) {
        std::string what = judge_open(co, layer, expected);
        layer.shut_down(co);
        return what;
    });
}

std::string Explorer::judge_open(sim::Co& co, BlockLayer& layer, const Expectation& expected) {
    auto opened = layer.open(co, open_options(configuration_, false));
    if (!opened) return "cannot be opened: " + opened.error().text;
    NodeRef node = std::move(*opened);
    const auto disk = BlockBackend::make(layer, claim);
    if (const Status inserted = disk->insert(*node); !inserted) return inserted.error().text;

    const auto checked = node->driver().check(co, Driver::Repair::none);
    if (!checked) return "cannot be checked";
    if (checked->corruptions != 0 || checked->check_errors != 0) {
        std::string what = "check finds damage";
        for (const std::string& message : checked->messages)
            if (!message.starts_with("Leaked")) what += "; " + message;
        return what;
    }
    counts_.leaking += checked->leaks != 0;

    const std::uint64_t sectors = disk->length() / sector_bytes;
    if (!expected.allows_size(sectors)) return fmt::format("is {} sectors long", sectors);
    for (std::uint64_t at = 0; at < disk->length();) {
        const auto status = node->driver().block_status(
            co, at, std::min(transfer_bytes, disk->length() - at));
        if (!status) return fmt::format("is not known at {}", at);
        const bool hole = !status->allocated && !configuration_.backing;
        if (std::string what = judge_range(co, *disk, at, status->length, hole, expected);
            !what.empty())
            return what;
        at += status->length;
    }
    std::string what = go_on_next_ ? go_on(co, *disk) : std::string();
    disk->remove();
    return what;
}

std::string Explorer::judge_range(sim::Co& co, BlockBackend& disk, std::uint64_t offset,
                                  std::uint64_t length, bool hole, const Expectation& expected) {
    std::vector<std::byte> data(hole ? 0 : length);
    if (!hole && !disk.read(co, offset, std::span(data)))
        return fmt::format("cannot be read at {}", offset);
    for (std::size_t i = 0; i < length; i += sector_bytes) {
        const std::uint64_t sector = (offset + i) / sector_bytes;
        const Tag seen =
            hole ? tag_zero : tag_of(std::span(data).subspan(i, sector_bytes), sector);
        if (!expected.allows(sector, seen))
            return fmt::format("sector {} reads as {}", sector, unsigned{seen});
    }
    return {};
}

// The image is not a museum piece: it is written to again.
std::string Explorer::go_on(sim::Co& co, BlockBackend& disk) {
    ++counts_.continued;
    constexpr Tag tag = tags_max - 1;
    const std::uint64_t sector = 40 * configuration_.cluster_bytes / sector_bytes;
    if (disk.length() < (sector + 1) * sector_bytes) return {};
    std::vector<std::byte> data(sector_bytes), seen(sector_bytes);
    fill_sector(data, sector, tag);
    if (!disk.write(co, sector * sector_bytes, std::span<const std::byte>(data)) ||
        !disk.flush(co) || !disk.read(co, sector * sector_bytes, std::span(seen)))
        return "cannot be written to any more";
    if (seen != data) return "does not keep what is written to it";
    const auto checked = disk.node()->driver().check(co, Driver::Repair::none);
    if (!checked || checked->corruptions != 0 || checked->check_errors != 0)
        return "is damaged by one more write";
    return {};
}

}  // namespace blocklayer::qcow2::crash
