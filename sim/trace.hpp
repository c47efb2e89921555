// SPDX-License-Identifier: Apache-2.0
// Trace: what happened, in order, and a digest of it.
//
// Every event goes into the digest and into a short ring kept for failure reports; with recording
// on, all of them are kept. Equal digests mean equal runs, event for event.
#pragma once
#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "sim/label.hpp"
#include "sim/time.hpp"

namespace sim {

// A node, device, job ... as events name it; 0 is "nobody in particular".
struct Subject {
    std::uint32_t index = 0;
};

struct TraceEvent {
    Instant at;
    Label label;
    std::uint64_t fiber = 0;  // 0: an event handler
    Subject subject;
    std::uint64_t a = 0, b = 0;
};

// One turn of the executor: which runnable ran, and how many events had been traced before it.
struct TraceStep {
    Instant at;
    Label label;
    std::uint64_t runnable = 0;  // a fiber's events carry the same number
    std::uint64_t position = 0;
    std::uint32_t thread = 0;
};

class Trace {
public:
    Trace();
    Subject subject(std::string_view name);  // the same name gives the same subject
    std::string_view name(Subject subject) const { return names_[subject.index].text; }

    void emit(Instant at, std::uint64_t fiber, Label label, Subject subject, std::uint64_t a,
              std::uint64_t b) {
        mix(static_cast<std::uint64_t>(at.ns) * 0x9e3779b97f4a7c15U +
            label.hash() * 0xbf58476d1ce4e5b9U + fiber * 0x94d049bb133111ebU +
            names_[subject.index].hash + a * 0xd6e8feb86659fd93U + b * 0xa0761d6478bd642fU);
        const TraceEvent event{at, label, fiber, subject, a, b};
        ring_[count_++ % ring_.size()] = event;
        if (recording_) [[unlikely]] keep(event);
    }

    void step(Instant at, const Label& label, std::uint64_t runnable, std::uint32_t thread) {
        mix(label.hash() + runnable * 0x9e3779b97f4a7c15U + static_cast<std::uint64_t>(at.ns));
        if (recording_) [[unlikely]] keep_step(at, label, runnable, thread);
    }

    void mix(std::uint64_t value) {
        digest_ = (digest_ ^ value) * 0x9fb21c651e98df25U;
        digest_ ^= digest_ >> 32;
    }

    std::uint64_t digest() const { return digest_; }
    std::uint64_t count() const { return count_; }
    void set_recording(bool on) { recording_ = on; }
    bool recording() const { return recording_; }
    const std::vector<TraceEvent>& events() const { return events_; }
    const std::vector<TraceStep>& steps() const { return steps_; }  // empty unless recording
    std::vector<TraceEvent> last(std::size_t n) const;  // oldest first, at most the ring's size
    std::string to_line(const TraceEvent& event) const;

private:
    // Apart, because every event passes here and few runs are recorded.
    [[gnu::cold]] void keep(const TraceEvent& event);
    [[gnu::cold]] void keep_step(Instant at, const Label& label, std::uint64_t runnable,
                                 std::uint32_t thread);

    struct Name {
        std::string text;
        std::uint64_t hash;
    };
    std::vector<Name> names_;
    std::map<std::string, std::uint32_t, std::less<>> index_;
    std::array<TraceEvent, 64> ring_{};
    std::vector<TraceEvent> events_;
    std::vector<TraceStep> steps_;
    std::uint64_t digest_ = 0x243f6a8885a308d3U;
    std::uint64_t count_ = 0;
    bool recording_ = false;
};

}  // namespace sim
