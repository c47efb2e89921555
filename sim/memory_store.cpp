// SPDX-License-Identifier: Apache-2.0
#include "sim/memory_store.hpp"

#include <algorithm>

#include "sim/check.hpp"
#include "sim/world.hpp"

namespace sim {
namespace {

constexpr std::uint64_t kept_zeroes_max = std::uint64_t{1} << 30;

}  // namespace

// An open description. It shares the medium, so that a removed file lives as long as it is open.
class MemoryFile final : public HostFile {
public:
    MemoryFile(MemoryStore& store, std::shared_ptr<MemoryMedium> medium, HostAccess access,
               std::uint64_t id)
        : store_(store),
          medium_(std::move(medium)),
          access_(access),
          id_(id),
          power_cycle_(medium_->power_cycle_) {}

    ~MemoryFile() override {
        std::erase_if(medium_->locks_, [this](const auto& lock) { return lock.holder == id_; });
    }

    IoStatus read(Co& co, std::uint64_t offset, IoView into) override {
        TRY(check(HostOp::read, offset, into.size()));
        const std::shared_ptr<MemoryMedium> medium = medium_;  // `this` may go away meanwhile
        TRY(medium->take_turn(co, HostOp::read, into.size(), "host read"));
        into.for_each([&](std::span<std::byte> piece) {
            medium->contents_.read(offset, piece);
            offset += piece.size();
        });
        return medium->answer(co, HostOp::read);
    }

    IoStatus write(Co& co, std::uint64_t offset, IoView from) override {
        return change(co, HostOp::write, offset, from.size(), from, "host write",
                      [](ByteImage& image, std::uint64_t at, std::uint64_t, IoView data) {
                          data.for_each([&](std::span<std::byte> piece) {
                              image.write(at, piece);
                              at += piece.size();
                          });
                      });
    }

    IoStatus write_zeroes(Co& co, std::uint64_t offset, std::uint64_t length,
                          MayUnmap unmap) override {
        // Room is kept chunk by chunk, so it is kept only where that is a bounded amount of work.
        const bool keep = unmap == MayUnmap::no && length <= kept_zeroes_max;
        const Backing backing = keep ? Backing::keep : Backing::release;
        return change(co, HostOp::write_zeroes, offset, length, {}, "host write zeroes",
                      [backing](ByteImage& image, std::uint64_t at, std::uint64_t n, IoView) {
                          image.zero(at, n, backing);
                      });
    }

    IoStatus discard(Co& co, std::uint64_t offset, std::uint64_t length) override {
        return change(co, HostOp::discard, offset, length, {}, "host discard",
                      [](ByteImage& image, std::uint64_t at, std::uint64_t n, IoView) {
                          if (at < image.size())  // never grows the file
                              image.zero(at, std::min(n, image.size() - at), Backing::release);
                      });
    }

    IoStatus truncate(Co& co, std::uint64_t size) override {
        return change(co, HostOp::truncate, size, 0, {}, "host truncate",
                      [](ByteImage& image, std::uint64_t to, std::uint64_t, IoView) {
                          image.resize(to);
                      });
    }

    IoStatus flush(Co& co) override {
        TRY(check(HostOp::flush, 0, 0));
        const std::shared_ptr<MemoryMedium> medium = medium_;
        const std::uint64_t completed = medium->completed_writes_;
        TRY(medium->take_turn(co, HostOp::flush, 0, "host flush"));
        if (medium->chosen_faults_ == nullptr || !medium->chosen_faults_->flush_lies(co.world()))
            medium->flushed(completed);
        return medium->answer(co, HostOp::flush);
    }

    IoResult<std::uint64_t> size() override {
        TRY(alive());
        return medium_->contents_.size();
    }
    IoResult<std::uint64_t> allocated_bytes() override {
        TRY(alive());
        return medium_->contents_.allocated_bytes();
    }
    IoResult<HostExtent> extent(std::uint64_t offset, std::uint64_t length) override {
        TRY(alive());
        const ByteImage& image = medium_->contents_;
        if (length == 0 || offset >= image.size()) return Unexpected(Errno::invalid);
        const auto [n, data] = image.extent(offset, std::min(length, image.size() - offset));
        return HostExtent{n, data};
    }
    HostAccess access() const override { return access_; }

    IoStatus lock_shared(std::uint64_t byte) override {
        TRY(alive());
        auto& locks = medium_->locks_;
        const bool held = std::any_of(locks.begin(), locks.end(), [&](const auto& lock) {
            return lock.byte == byte && lock.holder == id_;
        });
        if (!held) locks.push_back({byte, id_});
        return {};
    }
    IoStatus unlock(std::uint64_t byte) override {
        TRY(alive());
        std::erase_if(medium_->locks_, [&](const auto& lock) {
            return lock.byte == byte && lock.holder == id_;
        });
        return {};
    }
    IoStatus test_exclusive(std::uint64_t byte) override {
        TRY(alive());
        for (const auto& lock : medium_->locks_)
            if (lock.byte == byte && lock.holder != id_) return Unexpected(Errno::again);
        return {};
    }

private:
    IoStatus alive() const {
        if (power_cycle_ != medium_->power_cycle_) return Unexpected(Errno::io);
        return {};
    }

    IoStatus check(HostOp op, std::uint64_t offset, std::uint64_t length) const {
        TRY(alive());
        const bool reads = op == HostOp::read || op == HostOp::flush;
        if (!reads && access_ == HostAccess::read_only) return Unexpected(Errno::bad_file);
        if (offset > ByteImage::size_max || length > ByteImage::size_max - offset)
            return Unexpected(reads ? Errno::invalid : Errno::too_big);
        return {};
    }

    // What all changes have in common; `make(image, offset, length, data)` is the change itself.
    template <class Make>
    IoStatus change(Co& co, HostOp op, std::uint64_t offset, std::uint64_t length, IoView data,
                    Label why, Make&& make) {
        TRY(check(op, offset, length));
        if (length == 0 && op != HostOp::truncate) return {};
        const std::shared_ptr<MemoryMedium> medium = medium_;  // `this` may go away meanwhile
        const MemoryStore& store = store_;
        {
            const MemoryMedium::InFlight in_flight(*medium, op, offset, length, data);
            TRY(medium->take_turn(co, op, data.size(), why));
        }
        const bool allocates = op == HostOp::write || op == HostOp::write_zeroes;
        if (store.capacity_ != 0) [[unlikely]]
            co.world().touch(Place());  // the room is all files'
        if (allocates && !store.has_room(*medium, offset, length))
            return Unexpected(Errno::no_space);
        if (medium->chosen_faults_ != nullptr && op == HostOp::write) [[unlikely]] {
            constexpr std::uint64_t sector = MemoryMedium::sector_bytes;
            const std::uint64_t sectors = (length + sector - 1) / sector;
            if (const auto torn = medium->chosen_faults_->torn(co.world(), sectors)) {
                data = data.sub(0, std::min(length, *torn * sector));
                make(medium->contents_, offset, data.size(), data);
                medium->remember(op, offset, data.size(), data);
                return Unexpected(Errno::io);
            }
        }
        make(medium->contents_, offset, length, data);
        medium->remember(op, offset, length, data);
        return medium->answer(co, op);
    }

    MemoryStore& store_;
    std::shared_ptr<MemoryMedium> medium_;
    HostAccess access_;
    std::uint64_t id_;
    std::uint64_t power_cycle_;
};

IoResult<std::unique_ptr<HostFile>> MemoryStore::open(std::string_view path, HostAccess access) {
    const auto found = media_.find(path);
    if (found == media_.end()) return Unexpected(Errno::no_entry);
    if (access == HostAccess::read_write && found->second->read_only_)
        return Unexpected(Errno::access);
    return std::unique_ptr<HostFile>(
        std::make_unique<MemoryFile>(*this, found->second, access, next_description_++));
}

IoResult<std::unique_ptr<HostFile>> MemoryStore::create(std::string_view path) {
    if (path.empty()) return Unexpected(Errno::no_entry);
    if (!exists(path)) put(path, {});
    return open(path, HostAccess::read_write);
}

IoStatus MemoryStore::remove(std::string_view path) {
    const auto found = media_.find(path);
    if (found == media_.end()) return Unexpected(Errno::no_entry);
    media_.erase(found);
    return {};
}

std::vector<std::string> MemoryStore::list() const {
    std::vector<std::string> paths;
    for (const auto& [path, medium] : media_) paths.push_back(path);
    return paths;
}

MemoryMedium* MemoryStore::medium(std::string_view path) {
    const auto found = media_.find(path);
    return found == media_.end() ? nullptr : found->second.get();
}

MemoryMedium& MemoryStore::put(std::string_view path, ByteImage image) {
    auto& medium = media_.try_emplace(std::string(path)).first->second;
    if (medium == nullptr) {
        medium = std::make_shared<MemoryMedium>();
        medium->path_ = path;
        medium->set_cache(cache_);
    }
    medium->restore(std::move(image));
    return *medium;
}

MemoryStore::Snapshot MemoryStore::snapshot() const {
    Snapshot snapshot;
    for (const auto& [path, medium] : media_)
        snapshot.emplace_hint(snapshot.end(), path, medium->contents());
    return snapshot;
}

void MemoryStore::restore(const Snapshot& snapshot) {
    std::erase_if(media_, [&](const auto& file) { return !snapshot.contains(file.first); });
    for (const auto& [path, image] : snapshot) put(path, image);
}

bool MemoryStore::has_room(const MemoryMedium& medium, std::uint64_t offset,
                           std::uint64_t length) const {
    if (capacity_ == 0) [[likely]]
        return true;
    std::uint64_t used = 0;
    for (const auto& [path, file] : media_) used += file->contents().allocated_bytes();
    const std::uint64_t free = capacity_ > used ? capacity_ - used : 0;
    return length <= capacity_ && medium.contents().missing_bytes(offset, length) <= free;
}

void MemoryStore::power_cut(World& world) {
    enum Fate : std::uint32_t { nothing, everything, some };
    for (const auto& [path, medium] : media_) {
        const std::vector<PendingWrite> pending = medium->pending();
        std::vector<bool> kept;
        const std::uint32_t file_fate =
            pending.empty() ? nothing : world.choose(3, "power cut: what survives of a file");
        for (const PendingWrite& write : pending) {
            const std::uint32_t choices = write.pieces() > 1 ? 3 : 2;
            const std::uint32_t fate =
                file_fate == some ? world.choose(choices, "power cut: what survives of a write")
                                  : file_fate;
            for (std::size_t i = 0; i < write.pieces(); ++i)
                kept.push_back(fate == some
                                   ? world.choose(2, "power cut: does a sector survive") == 1
                                   : fate == everything);
        }
        medium->lose_power(medium->surviving(pending, kept));
    }
}

void MemoryStore::power_cut(const Keep& keep) {
    for (const auto& [path, medium] : media_) {
        const std::vector<PendingWrite> pending = medium->pending();
        std::vector<bool> kept;
        for (const PendingWrite& write : pending)
            for (std::size_t i = 0; i < write.pieces(); ++i)
                kept.push_back(keep(*medium, write, i));
        medium->lose_power(medium->surviving(pending, kept));
    }
}

}  // namespace sim
