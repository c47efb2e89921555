// SPDX-License-Identifier: Apache-2.0
// A node is changed in place only by the one who alone refers to it, and so to the way down to it.
// A world in an arena may refer to nodes outside of it, which outlive it: those it never changes,
// their counts neither.
#include "sim/byte_image.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "sim/arena.hpp"
#include "sim/check.hpp"

namespace sim {
namespace {

constexpr unsigned fan_bits = 6;
constexpr std::size_t fan = 1U << fan_bits;
constexpr std::uint64_t no_chunk = UINT64_MAX;

struct Shared {  // both kinds of node begin with their count, so that a link need not say which
    std::uint64_t references = 1;
};

struct Chunk : Shared {
    std::array<std::byte, ByteImage::chunk_bytes> bytes;
};

struct Inner : Shared {
    std::array<void*, fan> child{};
};

// Freed nodes of one kind, kept for the next world: most of them live as long as one run.
template <class T>
class Pool {
public:
    T* take() {
        if (spare_ == nullptr || Arena::current() != nullptr) return new T;
        T* node = new (std::exchange(spare_, spare_->next)) T;
        --count_;
        return node;
    }
    void give_back(T* node) {
        if (count_ == spare_max || Arena::holds(node)) {
            delete node;
            return;
        }
        ++count_;
        spare_ = new (node) Spare{spare_};
    }

private:
    struct Spare {
        Spare* next;
    };
    static constexpr std::size_t spare_max = 4096;
    Spare* spare_ = nullptr;
    std::size_t count_ = 0;
};

template <class T>
T& made_outside() {
    const Arena::Outside outside;
    return *new T{};
}

// Never destroyed: images may be static.
Pool<Chunk>& chunks() {
    static auto& pool = made_outside<Pool<Chunk>>();
    return pool;
}
Pool<Inner>& inners() {
    static auto& pool = made_outside<Pool<Inner>>();
    return pool;
}

// Allocated but zero: one chunk stands for all of them.
Chunk* zero_chunk() {
    static auto* chunk = &made_outside<Chunk>();
    return chunk;
}

Shared& shared(void* node) { return *static_cast<Shared*>(node); }
bool outlives_us(const void* node) {
    return Arena::current() != nullptr && !Arena::current()->owns(node);
}
bool has_others(void* node) { return shared(node).references > 1 || outlives_us(node); }
void add_reference(void* node) {
    if (!outlives_us(node)) ++shared(node).references;
}
// True: it was the last one.
bool drop_reference(void* node) { return !outlives_us(node) && --shared(node).references == 0; }

Inner& inner(void* node) { return *static_cast<Inner*>(node); }
Chunk& chunk(void* node) { return *static_cast<Chunk*>(node); }

void release(void* node, unsigned height) {
    if (node == nullptr || !drop_reference(node)) return;
    if (height == 0) {
        chunks().give_back(&chunk(node));
        return;
    }
    for (void* child : inner(node).child) release(child, height - 1);
    inners().give_back(&inner(node));
}

std::uint64_t count_chunks(void* node, unsigned height) {
    if (node == nullptr) return 0;
    if (height == 0) return 1;
    std::uint64_t count = 0;
    for (void* child : inner(node).child) count += count_chunks(child, height - 1);
    return count;
}

// Chunks below one child of a node of this height.
std::uint64_t span_of_child(unsigned height) {
    return std::uint64_t{1} << (fan_bits * (height - 1));
}

// Makes the inner node behind the link our own.
Inner& own(void*& link) {
    if (link == nullptr) {
        link = inners().take();
    } else if (has_others(link)) {
        Inner* copy = inners().take();
        copy->child = inner(link).child;
        for (void* child : copy->child)
            if (child != nullptr) add_reference(child);
        drop_reference(link);
        link = copy;
    }
    return inner(link);
}

// Takes chunks [from, to), counted from this node's first, out; gives how many there were.
std::uint64_t erase(void*& link, unsigned height, std::uint64_t from, std::uint64_t to) {
    if (link == nullptr || from >= to) return 0;
    const std::uint64_t whole = std::uint64_t{1} << (fan_bits * height);
    if (from == 0 && to >= whole) {
        const std::uint64_t count = count_chunks(link, height);
        release(std::exchange(link, nullptr), height);
        return count;
    }
    const std::uint64_t span = span_of_child(height);
    std::uint64_t count = 0;
    for (std::uint64_t i = from / span; i < fan && i * span < to; ++i) {
        if (inner(link).child[i] == nullptr) continue;
        const std::uint64_t base = i * span;
        count += erase(own(link).child[i], height - 1, std::max(from, base) - base, to - base);
    }
    return count;
}

// The first chunk at or after `index` that there is, counted from this node's first.
std::uint64_t next_chunk(void* node, unsigned height, std::uint64_t index) {
    if (node == nullptr) return no_chunk;
    if (height == 0) return index == 0 && node != zero_chunk() ? 0 : no_chunk;
    const std::uint64_t span = span_of_child(height);
    for (std::uint64_t i = index / span; i < fan; ++i) {
        const std::uint64_t base = i * span;
        const std::uint64_t found =
            next_chunk(inner(node).child[i], height - 1, std::max(index, base) - base);
        if (found != no_chunk) return base + found;
    }
    return no_chunk;
}

}  // namespace

// What needs both the tree and the image's members.
struct ByteTree {
    static bool covers(const ByteImage& image, std::uint64_t index) {
        const unsigned bits = fan_bits * image.height_;
        return bits >= 64 || index >> bits == 0;
    }

    static Chunk* find(const ByteImage& image, std::uint64_t index) {
        if (!covers(image, index)) return nullptr;
        void* node = image.root_;
        for (unsigned height = image.height_; height > 0 && node != nullptr; --height)
            node = inner(node).child[index >> (fan_bits * (height - 1)) & (fan - 1)];
        return static_cast<Chunk*>(node);
    }

    // The link to a chunk, with the way to it made our own.
    static void*& link(ByteImage& image, std::uint64_t index) {
        while (!covers(image, index)) {
            if (image.root_ != nullptr) {
                Inner* above = inners().take();
                above->child[0] = image.root_;
                image.root_ = above;
            }
            ++image.height_;
        }
        void** link = &image.root_;
        for (unsigned height = image.height_; height > 0; --height)
            link = &own(*link).child[index >> (fan_bits * (height - 1)) & (fan - 1)];
        return *link;
    }

    // The chunk, made our own. Its old contents are kept unless all of it will be overwritten.
    static Chunk& writable(ByteImage& image, std::uint64_t index, bool overwritten) {
        void*& link = ByteTree::link(image, index);
        if (link == nullptr) {
            Chunk* fresh = chunks().take();
            if (!overwritten) fresh->bytes.fill(std::byte{0});
            link = fresh;
            ++image.chunks_;
        } else if (has_others(link)) {
            Chunk* copy = chunks().take();
            if (!overwritten) copy->bytes = chunk(link).bytes;
            drop_reference(link);
            link = copy;
        }
        return chunk(link);
    }

    static void set_zero(ByteImage& image, std::uint64_t index) {
        void*& link = ByteTree::link(image, index);
        if (link == nullptr) ++image.chunks_;
        release(link, 0);
        link = zero_chunk();
        add_reference(link);
    }

    static void erase_chunks(ByteImage& image, std::uint64_t from, std::uint64_t to) {
        if (from < to && covers(image, from))
            image.chunks_ -= erase(image.root_, image.height_, from, to);
    }

    static std::uint64_t next(const ByteImage& image, std::uint64_t index) {
        return covers(image, index) ? next_chunk(image.root_, image.height_, index) : no_chunk;
    }

    static bool same_chunk(const ByteImage& a, const ByteImage& b, std::uint64_t index) {
        const Chunk* left = find(a, index);
        const Chunk* right = find(b, index);
        if (left == right) return true;
        if (left == nullptr) left = zero_chunk();
        if (right == nullptr) right = zero_chunk();
        return left->bytes == right->bytes;
    }
};

ByteImage::ByteImage(const ByteImage& other)
    : root_(other.root_), height_(other.height_), size_(other.size_), chunks_(other.chunks_) {
    if (root_ != nullptr) add_reference(root_);
}

ByteImage::~ByteImage() { release(root_, height_); }

void ByteImage::resize(std::uint64_t size) {
    EXPECTS(size <= size_max);
    if (size < size_) {
        const std::uint64_t rest_of_chunk = (chunk_bytes - size % chunk_bytes) % chunk_bytes;
        zero(size, std::min(rest_of_chunk, size_ - size), Backing::release);
        ByteTree::erase_chunks(*this, (size + chunk_bytes - 1) / chunk_bytes, no_chunk);
    }
    size_ = size;
}

void ByteImage::read(std::uint64_t offset, std::span<std::byte> into) const {
    EXPECTS(offset <= size_max);
    while (!into.empty()) {
        const std::size_t skip = offset % chunk_bytes;
        const std::size_t n = std::min(into.size(), chunk_bytes - skip);
        if (const Chunk* found = ByteTree::find(*this, offset / chunk_bytes); found != nullptr)
            std::memcpy(into.data(), found->bytes.data() + skip, n);
        else
            std::memset(into.data(), 0, n);
        into = into.subspan(n);
        offset += n;
    }
}

void ByteImage::write(std::uint64_t offset, std::span<const std::byte> from) {
    EXPECTS(offset <= size_max && from.size() <= size_max - offset);
    if (from.empty()) return;
    size_ = std::max<std::uint64_t>(size_, offset + from.size());
    while (!from.empty()) {
        const std::size_t skip = offset % chunk_bytes;
        const std::size_t n = std::min(from.size(), chunk_bytes - skip);
        Chunk& target = ByteTree::writable(*this, offset / chunk_bytes, n == chunk_bytes);
        std::memcpy(target.bytes.data() + skip, from.data(), n);
        from = from.subspan(n);
        offset += n;
    }
}

void ByteImage::zero(std::uint64_t offset, std::uint64_t length, Backing backing) {
    EXPECTS(offset <= size_max && length <= size_max - offset);
    if (length == 0) return;
    const std::uint64_t end = offset + length;
    size_ = std::max(size_, end);
    // A partial chunk at either end keeps its other bytes; one that is a hole stays one.
    const auto blank = [&](std::uint64_t at, std::size_t n) {
        const std::uint64_t index = at / chunk_bytes;
        if (backing == Backing::release && ByteTree::find(*this, index) == nullptr) return;
        Chunk& target = ByteTree::writable(*this, index, false);
        std::memset(target.bytes.data() + at % chunk_bytes, 0, n);
    };
    const std::uint64_t first = (offset + chunk_bytes - 1) / chunk_bytes;
    const std::uint64_t last = end / chunk_bytes;  // chunks [first, last) are covered whole
    if (first > last) {
        blank(offset, length);
        return;
    }
    if (offset % chunk_bytes != 0) blank(offset, chunk_bytes - offset % chunk_bytes);
    if (backing == Backing::release)
        ByteTree::erase_chunks(*this, first, last);
    else
        for (std::uint64_t index = first; index < last; ++index) ByteTree::set_zero(*this, index);
    if (end % chunk_bytes != 0) blank(end - end % chunk_bytes, end % chunk_bytes);
}

ByteImage::Extent ByteImage::extent(std::uint64_t offset, std::uint64_t length) const {
    EXPECTS(length > 0 && offset <= size_max && length <= size_max - offset);
    const std::uint64_t end = offset + length;
    std::uint64_t index = offset / chunk_bytes;
    const std::uint64_t data_at = ByteTree::next(*this, index);
    if (data_at != index) {
        const bool past = data_at == no_chunk || data_at * chunk_bytes >= end;
        return {past ? length : data_at * chunk_bytes - offset, false};
    }
    while (index * chunk_bytes < end) {
        const Chunk* found = ByteTree::find(*this, index);
        if (found == nullptr || found == zero_chunk()) break;
        ++index;
    }
    return {std::min(end, index * chunk_bytes) - offset, true};
}

std::uint64_t ByteImage::missing_bytes(std::uint64_t offset, std::uint64_t length) const {
    EXPECTS(offset <= size_max && length <= size_max - offset);
    std::uint64_t missing = 0;
    for (std::uint64_t index = offset / chunk_bytes; index * chunk_bytes < offset + length; ++index)
        if (ByteTree::find(*this, index) == nullptr) missing += chunk_bytes;
    return missing;
}

bool operator==(const ByteImage& a, const ByteImage& b) {
    if (a.size_ != b.size_) return false;
    if (a.root_ == b.root_ && a.height_ == b.height_) return true;
    std::uint64_t index = 0;
    while (true) {
        index = std::min(ByteTree::next(a, index), ByteTree::next(b, index));
        if (index == no_chunk) return true;
        if (!ByteTree::same_chunk(a, b, index)) return false;
        ++index;
    }
}

}  // namespace sim
