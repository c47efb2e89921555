// SPDX-License-Identifier: Apache-2.0
// ByteImage: a sparse array of bytes whose copies share what they have in common.
//
// A radix tree of reference-counted chunks. A copy shares the whole tree and costs O(1); a write
// copies only the chunks it changes and the way to them.
//
// units      bytes
// invariant  bytes past size() inside the last chunk are zero
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

namespace sim {

enum class Backing : bool {
    keep,     // zeroed room stays allocated
    release,  // whole chunks of zeroes become holes
};

class ByteImage {
public:
    // A small block of a host file system, so that holes and sizes look as they do there.
    static constexpr std::size_t chunk_bytes = 4096;
    static constexpr std::uint64_t size_max = INT64_MAX;

    ByteImage() = default;
    ByteImage(const ByteImage& other);
    ByteImage(ByteImage&& other) noexcept { swap(other); }
    ByteImage& operator=(ByteImage other) noexcept {
        swap(other);
        return *this;
    }
    ~ByteImage();

    std::uint64_t size() const { return size_; }
    std::uint64_t allocated_bytes() const { return chunks_ * chunk_bytes; }

    void resize(std::uint64_t size);
    // Past the end: zeroes.
    void read(std::uint64_t offset, std::span<std::byte> into) const;
    // Grows the image when it reaches past the end.
    void write(std::uint64_t offset, std::span<const std::byte> from);
    // Grows the image when it reaches past the end.
    void zero(std::uint64_t offset, std::uint64_t length, Backing backing);

    // How many bytes from the offset on, at most length, are alike: all in chunks with data, or all
    // in holes and zeroed chunks.
    struct Extent {
        std::uint64_t length;
        bool data;
    };
    Extent extent(std::uint64_t offset, std::uint64_t length) const;
    // Room a write or a kept zeroing of this range would newly allocate.
    std::uint64_t missing_bytes(std::uint64_t offset, std::uint64_t length) const;

    // Equal size and equal bytes; shared parts are not looked at.
    friend bool operator==(const ByteImage& a, const ByteImage& b);

private:
    friend struct ByteTree;
    void swap(ByteImage& other) noexcept {
        std::swap(root_, other.root_);
        std::swap(height_, other.height_);
        std::swap(size_, other.size_);
        std::swap(chunks_, other.chunks_);
    }

    void* root_ = nullptr;  // a chunk at height 0, else an inner node
    unsigned height_ = 0;
    std::uint64_t size_ = 0;
    std::uint64_t chunks_ = 0;
};

}  // namespace sim
