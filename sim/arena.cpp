// SPDX-License-Identifier: Apache-2.0
#include "sim/arena.hpp"

#include <link.h>
#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <new>

#include "sim/check.hpp"

namespace sim {
namespace {

void* reserve(std::size_t bytes) {
    void* range = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (range == MAP_FAILED) throw std::bad_alloc();
    return range;
}

}  // namespace

bool Arena::supported() {
#if defined(__SANITIZE_ADDRESS__)
    return false;
#else
    return true;
#endif
}

Arena::Arena() {
    const Outside outside;
    EXPECTS(supported());
    if (reserved_ == 0) {
        range_ = reinterpret_cast<std::uintptr_t>(reserve(range_bytes));
        reserved_ = range_bytes;
    }
    const auto place = std::find(all_.begin(), all_.end(), nullptr);
    EXPECTS(place != all_.end());
    *place = this;
    memory_ = reinterpret_cast<std::byte*>(range_) +
              static_cast<std::size_t>(place - all_.begin()) * bytes_max;
}

Arena::~Arena() {
    EXPECTS(current_ != this);
    *std::find(all_.begin(), all_.end(), this) = nullptr;
    madvise(memory_, bytes_max, MADV_DONTNEED);
}

void* Arena::cut(std::size_t number, std::size_t bytes) {
    if (bytes > bytes_max - grain - state_.used) return nullptr;
    std::byte* block = memory_ + grain + state_.used;
    state_.used += bytes;
    const std::uint64_t head = number;
    std::memcpy(block - head_bytes, &head, head_bytes);
    return block;
}

void* Arena::take_large(std::size_t bytes) {
    if (bytes > bytes_max / 2) return nullptr;
    const std::size_t whole = bytes + head_bytes;
    const auto power = static_cast<std::size_t>(std::bit_width(whole - 1)) - 1;  // 2^power < whole
    const std::size_t step = std::size_t{1} << (power - 2);
    const std::size_t steps = (whole - (std::size_t{1} << power) + step - 1) / step;  // 1 to 4
    const std::size_t number = small_classes + (power - 10) * 4 + steps;
    void*& spare = state_.spare[number];
    return spare != nullptr ? pop(spare) : cut(number, (std::size_t{1} << power) + steps * step);
}

void Arena::save() {
    const Outside outside;
    saved_state_ = state_;
    saved_.assign(memory_, memory_ + grain + state_.used);
}

void Arena::rewind() {
    std::memcpy(memory_, saved_.data(), saved_.size());
    state_ = saved_state_;
}

bool Arena::held_by_statics() const {
    struct Search {
        std::uintptr_t begin, end;
    } search{reinterpret_cast<std::uintptr_t>(memory_) + grain, 0};
    search.end = search.begin + state_.used;
    const auto look = [](dl_phdr_info* object, std::size_t, void* data) {
        const auto& wanted = *static_cast<const Search*>(data);
        for (unsigned i = 0; i < object->dlpi_phnum; ++i) {
            const ElfW(Phdr)& part = object->dlpi_phdr[i];
            if (part.p_type != PT_LOAD || (part.p_flags & PF_W) == 0) continue;
            const auto begin = (object->dlpi_addr + part.p_vaddr + 7) / 8 * 8;
            const auto end = object->dlpi_addr + part.p_vaddr + part.p_memsz;
            for (std::uintptr_t at = begin; at + 8 <= end; at += 8) {
                std::uintptr_t word = 0;
                std::memcpy(&word, reinterpret_cast<const void*>(at), sizeof word);
                if (word >= wanted.begin && word < wanted.end) return 1;
            }
        }
        return 2;  // the program itself comes first; the libraries know nothing of worlds
    };
    return dl_iterate_phdr(look, &search) == 1;
}

}  // namespace sim

#if !defined(__SANITIZE_ADDRESS__)

// The program's own operators: everything goes through them, the standard library's code included.
void* operator new(std::size_t bytes) {
    if (sim::Arena* arena = sim::Arena::current())
        if (void* block = arena->take(bytes)) return block;
    if (void* block = std::malloc(bytes == 0 ? 1 : bytes)) return block;
    throw std::bad_alloc();
}

void operator delete(void* block) noexcept {
    if (sim::Arena::holds(block))
        sim::Arena::give_back(block);
    else
        std::free(block);
}

void operator delete(void* block, std::size_t) noexcept { operator delete(block); }

#endif
