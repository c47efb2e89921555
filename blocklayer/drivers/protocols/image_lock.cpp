// SPDX-License-Identifier: Apache-2.0
#include "blocklayer/drivers/protocols/image_lock.hpp"

#include "sim/check.hpp"
#include "sim/mutant.hpp"

namespace blocklayer {
namespace {

constexpr std::uint64_t used_byte = 100, unshared_byte = 200;
constexpr unsigned perm_count = 4;

PermSet bit(unsigned n) { return PermSet::from_bits(1U << n); }

// Calls f(byte) for each lock byte, ascending, until one fails.
template <class F>
Status each_byte(const LockBits& bits, F&& f) {
    if (bits.used.empty() && bits.unshared.empty()) return {};
    for (unsigned n = 0; n < perm_count; ++n)
        if (bits.used.contains(bit(n))) TRY(f(used_byte + n));
    for (unsigned n = 0; n < perm_count; ++n)
        if (bits.unshared.contains(bit(n))) TRY(f(unshared_byte + n));
    return {};
}

Status denied(const char* kind, PermSet perm, Errno error) {
    std::string text = fmt::format("Failed to get {}\"{}\" lock", kind, to_words(perm));
    if (error != Errno::again) text += fmt::format(": {}", sim::errno_text(error));
    return failure(std::move(text), error);
}

}  // namespace

Status LockBits::lock(sim::HostFile& file, const LockBits& wanted) {
    const LockBits missing{.used = wanted.used.without(used),
                           .unshared = wanted.unshared.without(unshared)};
    return each_byte(missing, [&](std::uint64_t byte) -> Status {
        if (sim::mutant<"locks: asked for, not taken">()) return {};
        if (const IoStatus locked = file.lock_shared(byte); !locked) {
            std::string text = fmt::format("Failed to lock byte {}", byte);
            if (locked.error() != Errno::again)
                text += fmt::format(": {}", sim::errno_text(locked.error()));
            return failure(std::move(text), locked.error());
        }
        if (byte < unshared_byte)
            used = used | bit(static_cast<unsigned>(byte - used_byte));
        else
            unshared = unshared | bit(static_cast<unsigned>(byte - unshared_byte));
        return {};
    });
}

void LockBits::keep_only(sim::HostFile& file, const LockBits& wanted) {
    const LockBits extra{.used = used.without(wanted.used),
                         .unshared = unshared.without(wanted.unshared)};
    // A byte that cannot be unlocked goes with the description; nobody is to be told.
    const Status unlocked = each_byte(extra, [&](std::uint64_t byte) -> Status {
        static_cast<void>(file.unlock(byte).has_value());
        return {};
    });
    ENSURES(unlocked.has_value());
    used = used & wanted.used;
    unshared = unshared & wanted.unshared;
}

Status LockBits::test(sim::HostFile& file) const {
    for (unsigned n = 0; n < perm_count; ++n) {
        if (!used.contains(bit(n))) continue;
        if (const IoStatus free = file.test_exclusive(unshared_byte + n); !free)
            return denied("", bit(n), free.error());
    }
    for (unsigned n = 0; n < perm_count; ++n) {
        if (!unshared.contains(bit(n)) || sim::mutant<"locks: users are not asked">()) continue;
        if (const IoStatus free = file.test_exclusive(used_byte + n); !free)
            return denied("shared ", bit(n), free.error());
    }
    return {};
}

Status LockBits::test_ignoring(sim::HostFile& file, const LockBits& its,
                               sim::HostFile& mine) const {
    // Without its own locks for a moment, and nothing can run in that moment.
    LockBits held = its;
    held.keep_only(mine, {});
    Status allowed = test(file);
    LockBits again;
    const Status restored = again.lock(mine, its);
    ENSURES(restored.has_value());  // a shared lock that nobody can have taken exclusively
    return allowed;
}

}  // namespace blocklayer
