// SPDX-License-Identifier: Apache-2.0
#include "blocklayer/drivers/driver.hpp"

#include <map>

#include "blocklayer/graph/node.hpp"
#include "sim/check.hpp"

namespace blocklayer {
namespace {

// Filled before main by the registration objects, so it cannot be a plain global.
std::map<std::string, DriverSpec, std::less<>>& registry() {
    static std::map<std::string, DriverSpec, std::less<>> drivers;
    return drivers;
}

constexpr PermSet write_and_resize = Perm::write | Perm::resize;

// What a filter that does not care hands on to: its filtered child, nullptr for other drivers.
Edge* passes_to(const Driver& driver) {
    const Node& node = driver.node();
    return node.is_filter() ? node.filtered_child() : nullptr;
}

}  // namespace

DriverRegistration::DriverRegistration(DriverSpec spec) {
    std::string name = spec.name;
    const bool added = registry().emplace(std::move(name), std::move(spec)).second;
    EXPECTS(added);  // two drivers of one name
}

const DriverSpec* find_driver(std::string_view name) {
    const auto found = registry().find(name);
    return found == registry().end() ? nullptr : &found->second;
}

std::vector<const DriverSpec*> all_drivers() {
    std::vector<const DriverSpec*> drivers;
    for (const auto& [name, spec] : registry()) drivers.push_back(&spec);
    return drivers;
}

Claim default_child_claim(RoleSet role, Claim cumulative, bool writable, bool inactive, bool no_io,
                          bool child_force_shares) {
    Claim claim = cumulative;
    if (role.has(Role::cow)) {
        claim.used = cumulative.used & Perm::consistent_read;
        claim.shared = Perm::consistent_read | Perm::write_unchanged;
        if (cumulative.shared.contains(Perm::write) || inactive)
            claim.shared = claim.shared | write_and_resize;
    } else if (role.has(Role::metadata) || role.has(Role::data)) {
        if (role.has(Role::metadata)) {
            if (writable) claim.used = claim.used | write_and_resize;
            if (!no_io) claim.used = claim.used | Perm::consistent_read;
            claim.shared = claim.shared.without(write_and_resize);
        } else {
            claim.shared = claim.shared.without(Perm::resize);
        }
        if (role.has(Role::data)) {
            // An unchanging write may need a new cluster, and a new cluster a longer file.
            if (claim.used.contains(Perm::write_unchanged)) claim.used = claim.used | Perm::write;
            if (claim.used.contains(Perm::write)) claim.used = claim.used | Perm::resize;
        }
        if (inactive) claim.shared = claim.shared | write_and_resize;
    }
    if (child_force_shares) claim.shared = PermSet::all();
    return claim;
}

Claim Driver::child_claim(const Edge* edge, RoleSet role, Claim cumulative, bool writable) const {
    const NodeFlags& flags = node().flags();
    return default_child_claim(role, cumulative, writable, flags.inactive, flags.no_io,
                               edge != nullptr && edge->child().flags().force_share);
}

IoStatus Driver::read(sim::Co& co, std::uint64_t offset, sim::IoView into, RequestFlags flags) {
    Edge* below = passes_to(*this);
    if (below == nullptr) return Unexpected(Errno::not_supported);
    return below->read(co, offset, into, flags);
}

IoStatus Driver::write(sim::Co& co, std::uint64_t offset, sim::IoView from, RequestFlags flags) {
    Edge* below = passes_to(*this);
    if (below == nullptr) return Unexpected(Errno::not_supported);
    return below->write(co, offset, from, flags);
}

IoStatus Driver::write_zeroes(sim::Co& co, std::uint64_t offset, std::uint64_t length,
                              RequestFlags flags) {
    Edge* below = passes_to(*this);
    if (below == nullptr) return Unexpected(Errno::not_supported);
    return below->write_zeroes(co, offset, length, flags);
}

IoStatus Driver::discard(sim::Co& co, std::uint64_t offset, std::uint64_t length) {
    Edge* below = passes_to(*this);
    if (below == nullptr) return Unexpected(Errno::not_supported);
    return below->discard(co, offset, length);
}

IoStatus Driver::flush(sim::Co& co) {
    IoStatus result;
    const std::vector<Edge*> children = node().children();  // the list may change while we wait
    for (Edge* edge : children) {
        if (!edge->claim().used.intersects(Perm::write | Perm::write_unchanged)) continue;
        IoStatus flushed = edge->flush(co);
        if (result && !flushed) result = flushed;
    }
    return result;
}

IoResult<BlockStatus> Driver::block_status(sim::Co&, std::uint64_t offset, std::uint64_t length) {
    BlockStatus status{.length = length};
    if (Edge* below = passes_to(*this)) {
        status.recurse = true;
        status.file = &below->child();
    } else {
        status.data = status.allocated = true;
        if (node().spec().kind == DriverKind::protocol) status.file = &node();
    }
    status.offset = offset;
    return status;
}

Status Driver::truncate(sim::Co& co, std::uint64_t size, bool exact, std::string_view preallocation,
                        RequestFlags flags) {
    Edge* below = passes_to(*this);
    if (below == nullptr)
        return failure("Image format driver does not support resize", Errno::not_supported);
    return below->truncate(co, size, exact, preallocation, flags);
}

std::optional<std::uint64_t> Driver::length_with_child(const Edge&) const { return std::nullopt; }

DriverInfo Driver::info() {
    const Edge* below = passes_to(*this);
    return below == nullptr ? DriverInfo{} : below->child().driver().info().handed_on();
}

IoResult<std::uint64_t> Driver::allocated_bytes() {
    if (has_filename(node().spec())) return Unexpected(Errno::not_supported);
    if (Edge* below = passes_to(*this)) return below->child().driver().allocated_bytes();
    std::uint64_t sum = 0;
    for (const Edge* edge : node().children()) {
        const RoleSet role = edge->role();
        if (!role.has(Role::data) && !role.has(Role::metadata) && !role.has(Role::filtered))
            continue;
        sum += TRY(edge->child().driver().allocated_bytes());
    }
    return sum;
}

IoStatus Driver::make_empty(sim::Co&) { return Unexpected(Errno::not_supported); }

Status Driver::change_backing_file(sim::Co&, std::string_view, std::string_view) {
    return failure("Operation not supported", Errno::not_supported);
}

IoResult<Driver::CheckResult> Driver::check(sim::Co&, Repair) {
    return Unexpected(Errno::not_supported);
}

Status Driver::reopen_prepare(sim::Co&, ReopenContext&) { return {}; }

}  // namespace blocklayer
