// SPDX-License-Identifier: Apache-2.0
#include "hwmodels/host_bus/guest_memory.hpp"

#include <sys/mman.h>

#include <new>
#include <utility>

#include "sim/arena.hpp"

namespace hwmodels {
namespace {

struct Mapping {
    std::byte* bytes;
    std::uint64_t size;
};

// Zeroed RAM of worlds that are gone, for those to come: machines follow one another by the
// thousand, and most use little of it.
constexpr std::size_t spare_max = 4;
constexpr std::uint64_t worth_zeroing = 1 << 20;

std::vector<Mapping>& spare() {
    static auto& mappings = *new std::vector<Mapping>;  // outlives every static world
    return mappings;
}

}  // namespace

GuestMemory::GuestMemory(std::uint64_t size) : bytes_(nullptr), size_(size) {
    const auto found = std::find_if(spare().begin(), spare().end(),
                                    [&](const Mapping& mapping) { return mapping.size == size; });
    if (found != spare().end()) {
        bytes_ = found->bytes;
        spare().erase(found);
        return;
    }
    void* mapping = mmap(nullptr, size, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapping == MAP_FAILED) throw std::bad_alloc();
    bytes_ = static_cast<std::byte*>(mapping);
}

GuestMemory::~GuestMemory() {
    const std::uint64_t touched = touched_to_ - std::min(touched_from_, touched_to_);
    if (touched > worth_zeroing || spare().size() == spare_max) {
        munmap(bytes_, size_);
        return;
    }
    restore({});
    const sim::Arena::Outside outside;
    spare().push_back({bytes_, size_});
}

GuestMemory::Saved GuestMemory::save() const {
    if (touched_from_ >= touched_to_) return {};
    return {touched_from_, {bytes_ + touched_from_, bytes_ + touched_to_}};
}

void GuestMemory::restore(const Saved& saved) {
    if (touched_from_ >= touched_to_) return;
    const GuestAddress from = saved.bytes.empty() ? touched_to_ : saved.from;
    const GuestAddress to = from + saved.bytes.size();
    EXPECTS(from >= touched_from_ && to <= touched_to_);
    std::memset(bytes_ + touched_from_, 0, from - touched_from_);
    std::copy(saved.bytes.begin(), saved.bytes.end(), bytes_ + from);
    std::memset(bytes_ + to, 0, touched_to_ - to);
}

}  // namespace hwmodels
