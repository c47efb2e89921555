// SPDX-License-Identifier: Apache-2.0
// Arena: the heap of one world in one piece, so that the whole of it can be put back as it was.
//
// While an arena is in use everything that is made with `new` lies in it, whoever makes it; what
// must outlive it is made under Arena::Outside. Freed blocks are kept by size and used again, so an
// arena is also the quicker heap. Programs that link this room get its operator new; the address
// sanitizer brings its own, and then there are no arenas.
//
// units      bytes
// invariant  nothing outside of an arena refers into it, except for who uses it
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

namespace sim {

class Arena {
public:
    static constexpr std::size_t bytes_max = 64U << 20;  // of address space; beyond: the usual heap

    static bool supported();
    Arena();
    Arena(const Arena&) = delete;
    Arena& operator=(const Arena&) = delete;
    ~Arena();

    class [[nodiscard]] Use {  // in its scope `new` takes from the arena
    public:
        explicit Use(Arena& arena) : outer_(current_) { current_ = &arena; }
        Use(const Use&) = delete;
        Use& operator=(const Use&) = delete;
        ~Use() { current_ = outer_; }

    private:
        Arena* outer_;
    };
    class [[nodiscard]] Outside {  // in its scope it does not
    public:
        Outside() : outer_(current_) { current_ = nullptr; }
        Outside(const Outside&) = delete;
        Outside& operator=(const Outside&) = delete;
        ~Outside() { current_ = outer_; }

    private:
        Arena* outer_;
    };
    static Arena* current() { return current_; }
    // Does this address lie in some arena?
    static bool holds(const void* address) {
        return reinterpret_cast<std::uintptr_t>(address) - range_ < reserved_;
    }

    bool owns(const void* address) const {
        return reinterpret_cast<std::uintptr_t>(address) -
                   reinterpret_cast<std::uintptr_t>(memory_) <
               bytes_max;
    }

    // Remembers all contents; rewind() brings them back, any number of times.
    void save();
    void rewind();
    std::size_t used_bytes() const { return state_.used; }
    // Do the program's static objects refer into it? They outlive it, so they must not.
    bool held_by_statics() const;

    void* take(std::size_t bytes) {  // nullptr: there is no room
        const std::size_t number = (bytes + head_bytes + grain - 1) / grain;
        if (bytes > small_max) return take_large(bytes);
        void*& spare = state_.spare[number];
        return spare != nullptr ? pop(spare) : cut(number, number * grain);
    }
    static void give_back(void* block) {
        Arena& arena = *all_[(reinterpret_cast<std::uintptr_t>(block) - range_) / bytes_max];
        std::uint64_t number = 0;
        std::memcpy(&number, static_cast<std::byte*>(block) - head_bytes, head_bytes);
        void*& spare = arena.state_.spare[number];
        std::memcpy(block, &spare, sizeof spare);
        spare = block;
    }

private:
    static constexpr std::size_t arenas_max = 256, range_bytes = arenas_max * bytes_max;
    // A block has eight bytes before it for the number of its class, so that it can be freed by its
    // address alone. Small sizes each have a class, larger ones four for each power of two.
    static constexpr std::size_t head_bytes = 8, grain = 16, small_max = 1024 - head_bytes;
    static constexpr std::size_t small_classes = 1024 / grain, classes = small_classes + 1 + 4 * 16;
    static void* pop(void*& spare) {
        void* found = spare;
        std::memcpy(&spare, found, sizeof spare);  // its first word names the next
        return found;
    }
    void* cut(std::size_t number, std::size_t bytes);
    void* take_large(std::size_t bytes);

    struct State {
        std::size_t used = 0;
        std::array<void*, classes> spare{};
    };

    static inline Arena* current_ = nullptr;
    static inline std::uintptr_t range_ = 0, reserved_ = 0;  // nothing before there is an arena
    static inline std::array<Arena*, arenas_max> all_{};
    std::byte* memory_;
    State state_, saved_state_;
    std::vector<std::byte> saved_;
};

}  // namespace sim
