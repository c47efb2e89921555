// SPDX-License-Identifier: Apache-2.0
#include "blocklayer/jobs/mirror_top.hpp"

#include <vector>

#include "blocklayer/graph/node.hpp"
#include "blocklayer/jobs/mirror.hpp"
#include "blocklayer/requests/memory.hpp"
#include "sim/check.hpp"

namespace blocklayer {

const DriverSpec& MirrorTop::driver_spec() {
    static const DriverSpec spec{.name = "mirror_top",
                                 .kind = DriverKind::filter,
                                 .options = {},
                                 .create_options = {},
                                 .filtered_child = "backing",
                                 .strong_options = {},
                                 .source = "graphs as observed",
                                 .protocols = {},
                                 .named_as_child = true};
    return spec;
}

Status MirrorTop::open(sim::Co&, OpenContext&) {
    INVARIANT(false);  // only jobs make it
    return {};
}

Edge& MirrorTop::below() const {
    Edge* edge = node().filtered_child();
    INVARIANT(edge != nullptr);
    return *edge;
}

IoStatus MirrorTop::read(sim::Co& co, std::uint64_t offset, sim::IoView into, RequestFlags flags) {
    if (onto_backing_) flags = flags | RequestFlag::inconsistent_ok;
    return below().read(co, offset, into, flags);
}

IoStatus MirrorTop::write(sim::Co& co, std::uint64_t offset, sim::IoView from,
                          RequestFlags flags) {
    if (job_ == nullptr || !job_->write_blocking()) return below().write(co, offset, from, flags);
    const sim::World::Within anywhere(co, sim::Place());
    // The guest's memory may change meanwhile: both get the same bytes.
    TRY(memory_for(below().child(), "a copy of a write"));
    std::vector<std::byte> bytes(from.size());
    from.copy_to(bytes.data());
    const sim::IoView data{std::span<std::byte>(bytes)};
    return job_->change_both(
        co, Mirror::Change::write, offset, from.size(), data,
        [&](sim::Co& inner) { return below().write(inner, offset, data, flags); });
}

IoStatus MirrorTop::write_zeroes(sim::Co& co, std::uint64_t offset, std::uint64_t length,
                                 RequestFlags flags) {
    if (job_ == nullptr || !job_->write_blocking())
        return below().write_zeroes(co, offset, length, flags);
    const sim::World::Within anywhere(co, sim::Place());
    return job_->change_both(
        co, Mirror::Change::zero, offset, length, {},
        [&](sim::Co& inner) { return below().write_zeroes(inner, offset, length, flags); });
}

IoStatus MirrorTop::discard(sim::Co& co, std::uint64_t offset, std::uint64_t length) {
    if (job_ == nullptr || !job_->write_blocking()) return below().discard(co, offset, length);
    const sim::World::Within anywhere(co, sim::Place());
    return job_->change_both(
        co, Mirror::Change::discard, offset, length, {},
        [&](sim::Co& inner) { return below().discard(inner, offset, length); });
}

IoResult<std::uint64_t> MirrorTop::length(sim::Co&) { return below().child().length(); }

Limits MirrorTop::limits() const {
    const Edge* edge = node().filtered_child();
    if (edge == nullptr) return {};
    const Limits& below = edge->child().limits();
    return {.supports_fua = true,
            .zeroes_may_unmap = below.zeroes_may_unmap,
            .zeroes_supports_fua = below.zeroes_supports_fua,
            .zeroes_no_fallback = below.zeroes_no_fallback,
            .truncate_zeroes = below.truncate_zeroes};
}

Claim MirrorTop::child_claim(const Edge* edge, RoleSet role, Claim cumulative,
                             bool writable) const {
    if (stopped_) return {};
    Claim claim = Driver::child_claim(edge, role, cumulative, writable);
    if (!onto_backing_) return claim;
    claim.used = claim.used.without(Perm::consistent_read);
    claim.shared = claim.shared | Perm::write;
    return claim;
}

}  // namespace blocklayer
