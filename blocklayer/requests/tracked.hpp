// SPDX-License-Identifier: Apache-2.0
// Tracked requests: what is in flight on a node, so that a serialising request (one that must not
// overlap with another: a read-modify-write, a copy on read, a mirror's copy) can wait.
//
// invariant  of two overlapping requests, at least one serialising, the later waits for the earlier
#pragma once
#include <cstdint>

#include "sim/sync.hpp"

namespace blocklayer {

class TrackedRequests;

// Lives on the stack of the request's fiber.
class TrackedRequest {
public:
    TrackedRequest(TrackedRequests& all, std::uint64_t offset, std::uint64_t length, bool write);
    TrackedRequest(const TrackedRequest&) = delete;
    TrackedRequest& operator=(const TrackedRequest&) = delete;
    ~TrackedRequest();

    // From here no other request overlaps with this one, widened to `align`.
    // False (only with wait == false): another one does.
    bool make_serialising(sim::Co& co, std::uint64_t align, bool wait);
    // Waits for serialising requests that overlap.
    void wait_for_serialising(sim::Co& co);
    bool write() const { return write_; }
    std::uint64_t offset() const { return offset_; }
    std::uint64_t length() const { return length_; }

private:
    friend class TrackedRequests;
    bool overlaps(const TrackedRequest& other) const;
    TrackedRequest* conflicting();

    TrackedRequests& all_;
    TrackedRequest* previous_ = nullptr;
    TrackedRequest* next_ = nullptr;
    std::uint64_t offset_, length_;                  // as asked
    std::uint64_t overlap_offset_, overlap_length_;  // as serialised
    TrackedRequest* waiting_for_ = nullptr;
    sim::WaitQueue finished_{"overlapping request"};
    const sim::Fiber* fiber_ = nullptr;
    bool write_;
    bool serialising_ = false;
};

class TrackedRequests {
public:
    bool empty() const { return first_ == nullptr; }
    bool any_serialising() const { return serialising_ > 0; }

private:
    friend class TrackedRequest;
    TrackedRequest* first_ = nullptr;
    std::uint32_t serialising_ = 0;
};

}  // namespace blocklayer
