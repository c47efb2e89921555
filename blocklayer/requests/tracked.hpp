// SPDX-License-Identifier: Apache-2.0
// Tracked requests: what is in flight on a node, so that a serialising request (one that must not
// overlap with another: a read-modify-write, a copy on read, a mirror's copy) can wait.
//
// invariant  of two overlapping requests, at least one serialising, the later waits for the earlier
#pragma once
#include <cstdint>

#include "sim/sync.hpp"

namespace blocklayer {

class TrackedRequest;

class TrackedRequests {
public:
    bool empty() const { return first_ == nullptr; }
    bool any_serialising() const { return serialising_ > 0; }

private:
    friend class TrackedRequest;
    TrackedRequest* first_ = nullptr;
    std::uint32_t serialising_ = 0;
};

// Lives on the stack of the request's fiber.
class TrackedRequest {
public:
    TrackedRequest(TrackedRequests& all, std::uint64_t offset, std::uint64_t length, bool write)
        : all_(all),
          next_(all.first_),
          offset_(offset),
          length_(length),
          overlap_offset_(offset),
          overlap_length_(length),
          write_(write) {
        if (next_ != nullptr) next_->previous_ = this;
        all.first_ = this;
    }
    TrackedRequest(const TrackedRequest&) = delete;
    TrackedRequest& operator=(const TrackedRequest&) = delete;
    ~TrackedRequest() {
        (previous_ != nullptr ? previous_->next_ : all_.first_) = next_;
        if (next_ != nullptr) next_->previous_ = previous_;
        if (serialising_) --all_.serialising_;
        if (!finished_.empty()) finished_.wake_all();
    }

    // From here no other request overlaps with this one, widened to `align`.
    // False (only with wait == false): another one does.
    bool make_serialising(sim::Co& co, std::uint64_t align, bool wait);
    // Waits for serialising requests that overlap.
    void wait_for_serialising(sim::Co& co);
    bool write() const { return write_; }
    std::uint64_t offset() const { return offset_; }
    std::uint64_t length() const { return length_; }

private:
    bool overlaps(const TrackedRequest& other) const {
        return overlap_offset_ < other.overlap_offset_ + other.overlap_length_ &&
               other.overlap_offset_ < overlap_offset_ + overlap_length_;
    }
    TrackedRequest* conflicting();
    void wait_for(sim::Co& co, TrackedRequest& other);

    TrackedRequests& all_;
    TrackedRequest* previous_ = nullptr;
    TrackedRequest* next_;
    std::uint64_t offset_, length_;                  // as asked
    std::uint64_t overlap_offset_, overlap_length_;  // as serialised
    const TrackedRequest* waiting_for_ = nullptr;
    sim::WaitQueue finished_{"overlapping request"};
    bool write_;
    bool serialising_ = false;
};

}  // namespace blocklayer
