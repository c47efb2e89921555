// SPDX-License-Identifier: Apache-2.0
// IoView: a scatter-gather list somebody else owns, cut without copying or allocating.
//
// units      bytes
// invariant  the segments outlive every view on them; a view handed to a write is only read
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "sim/check.hpp"

namespace sim {

struct IoVec {
    std::byte* base = nullptr;
    std::size_t size = 0;
};

class IoView {
public:
    IoView() = default;
    IoView(std::byte* base, std::size_t size) : single_{base, size}, size_(size) {}
    IoView(std::span<std::byte> bytes) : IoView(bytes.data(), bytes.size()) {}
    // For writes: the data is only read.
    IoView(std::span<const std::byte> bytes)
        : IoView(const_cast<std::byte*>(bytes.data()), bytes.size()) {}
    explicit IoView(std::span<const IoVec> segments) : segments_(segments.data()) {
        for (const IoVec& segment : segments) size_ += segment.size;
    }

    std::size_t size() const { return size_; }
    bool empty() const { return size_ == 0; }

    IoView sub(std::size_t offset, std::size_t size) const {
        EXPECTS(offset <= size_ && size <= size_ - offset);
        IoView part = *this;
        part.size_ = size;
        part.skip_ += offset;
        if (segments_ == nullptr) return part;
        while (part.skip_ >= part.segments_->size && size > 0) {
            part.skip_ -= part.segments_->size;
            ++part.segments_;
        }
        return part;
    }

    // Calls f(std::span<std::byte>) for each piece, in order.
    template <class F>
    void for_each(F&& f) const {
        if (size_ == 0) return;
        if (segments_ == nullptr) {
            f(std::span(single_.base + skip_, size_));
            return;
        }
        std::size_t left = size_, skip = skip_;
        for (const IoVec* segment = segments_; left > 0; ++segment) {
            if (skip >= segment->size) {
                skip -= segment->size;
                continue;
            }
            const std::size_t n = std::min(left, segment->size - skip);
            f(std::span(segment->base + skip, n));
            left -= n;
            skip = 0;
        }
    }

    // The bytes in one piece, or nullptr if they are scattered.
    std::byte* contiguous() const {
        if (segments_ == nullptr) return single_.base + skip_;
        return skip_ + size_ <= segments_->size ? segments_->base + skip_ : nullptr;
    }

    void copy_to(std::byte* out) const {
        for_each([&](std::span<std::byte> piece) {
            std::memcpy(out, piece.data(), piece.size());
            out += piece.size();
        });
    }
    void copy_from(const std::byte* in) const {
        for_each([&](std::span<std::byte> piece) {
            std::memcpy(piece.data(), in, piece.size());
            in += piece.size();
        });
    }
    void fill(std::byte value) const {
        for_each([&](std::span<std::byte> piece) {
            std::memset(piece.data(), static_cast<int>(value), piece.size());
        });
    }

private:
    IoVec single_;
    const IoVec* segments_ = nullptr;  // nullptr: single_ holds everything
    std::size_t skip_ = 0;             // bytes to pass over in the first segment
    std::size_t size_ = 0;
};

}  // namespace sim
