// SPDX-License-Identifier: Apache-2.0
#include "blocklayer/requests/tracked.hpp"
#include "sim/mutant.hpp"

namespace blocklayer {

// A request that waits itself is passed over: when it goes on, it looks again and finds us. Two
// that overlap therefore never wait for each other.
TrackedRequest* TrackedRequest::conflicting() {
    for (TrackedRequest* other = all_.first_; other != nullptr; other = other->next_) {
        if (other == this || !(serialising_ || other->serialising_)) continue;
        const bool waits =
            other->waiting_for_ != nullptr && !sim::mutant<"requests: those who wait block">();
        if (!waits && overlaps(*other)) return other;
    }
    return nullptr;
}

void TrackedRequest::wait_for(sim::Co& co, TrackedRequest& other) {
    waiting_for_ = &other;
    other.finished_.wait(co);
    waiting_for_ = nullptr;
}

bool TrackedRequest::make_serialising(sim::Co& co, std::uint64_t align, bool wait) {
    EXPECTS(align > 0);
    const std::uint64_t begin = offset_ - offset_ % align;
    const std::uint64_t end = offset_ + length_;
    const std::uint64_t padded = end % align == 0 ? end : end + (align - end % align);
    const std::uint64_t overlap_end = std::max(padded, overlap_offset_ + overlap_length_);
    overlap_offset_ = sim::mutant<"requests: serialised from its own first byte">()
                          ? overlap_offset_
                          : std::min(begin, overlap_offset_);
    overlap_length_ = overlap_end - overlap_offset_;
    if (!serialising_) {
        serialising_ = true;
        ++all_.serialising_;
    }
    while (TrackedRequest* other = conflicting()) {
        if (!wait) return false;
        wait_for(co, *other);
    }
    return true;
}

void TrackedRequest::wait_for_serialising(sim::Co& co) {
    if (sim::mutant<"requests: nobody waits for serialising ones">()) return;
    while (TrackedRequest* other = conflicting()) wait_for(co, *other);
}

}  // namespace blocklayer
