// SPDX-License-Identifier: Apache-2.0
#include "blocklayer/testing/test_driver.hpp"

#include "blocklayer/graph/open.hpp"

namespace blocklayer::testing {

PermSet perms(std::string_view letters) {
    if (letters == "ALL") return PermSet::all();
    PermSet set;
    for (const char letter : letters) {
        if (letter == '-') continue;
        const std::size_t bit = std::string_view("CWUR").find(letter);
        EXPECTS(bit != std::string_view::npos);
        set = set | PermSet::from_bits(1u << bit);
    }
    return set;
}

Status MemoryDriver::open(sim::Co&, OpenContext& context) {
    bytes.resize(context.options().get_uint("size", 1024 * 1024));
    return {};
}

IoStatus MemoryDriver::arrive(sim::Co& co, DriverCall call) {
    calls.push_back(call);
    if (before) before(co, call);
    if (failing.contains(call.request)) return Unexpected(Errno::io);
    return {};
}

IoStatus MemoryDriver::read(sim::Co& co, std::uint64_t offset, sim::IoView into,
                            RequestFlags flags) {
    TRY(arrive(co, {"read", offset, into.size(), flags}));
    std::size_t at = offset;
    into.for_each([&](std::span<std::byte> piece) {
        for (std::byte& byte : piece) {
            byte = at < bytes.size() ? bytes[at] : std::byte{0};
            ++at;
        }
    });
    return {};
}

IoStatus MemoryDriver::write(sim::Co& co, std::uint64_t offset, sim::IoView from,
                             RequestFlags flags) {
    TRY(arrive(co, {"write", offset, from.size(), flags}));
    if (offset + from.size() > bytes.size()) bytes.resize(offset + from.size());
    from.copy_to(bytes.data() + offset);
    return {};
}

IoStatus MemoryDriver::write_zeroes(sim::Co& co, std::uint64_t offset, std::uint64_t length,
                                    RequestFlags flags) {
    if (!zeroes_supported) return Unexpected(Errno::not_supported);
    TRY(arrive(co, {"zero", offset, length, flags}));
    if (offset + length > bytes.size()) bytes.resize(offset + length);
    std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(offset), length, std::byte{0});
    return {};
}

IoStatus MemoryDriver::discard(sim::Co& co, std::uint64_t offset, std::uint64_t length) {
    TRY(arrive(co, {"discard", offset, length, {}}));
    for (std::uint64_t at = offset; at < std::min<std::uint64_t>(offset + length, bytes.size());
         ++at)
        bytes[at] = std::byte{0};
    return {};
}

IoStatus MemoryDriver::flush(sim::Co& co) { return arrive(co, {"flush", 0, 0, {}}); }

Status MemoryDriver::truncate(sim::Co&, std::uint64_t size, bool, std::string_view, RequestFlags) {
    bytes.resize(size);
    return {};
}

IoResult<std::uint64_t> MemoryDriver::length(sim::Co&) { return bytes.size(); }

Status MemoryDriver::prepare_claim(Claim claim, bool) {
    hooks.push_back("prepare");
    const bool loosens = held.used.contains(claim.used) && claim.shared.contains(held.shared);
    if (refuse_all || (refuse_claims && !loosens)) {
        hooks.push_back("refused");
        return failure("the host says no", Errno::again);
    }
    prepared_ = claim;
    return {};
}

void MemoryDriver::commit_claim() {
    hooks.push_back("commit");
    held = prepared_;
}

void MemoryDriver::abort_claim() { hooks.push_back("abort"); }

Status MemoryDriver::reopen_prepare(sim::Co&, ReopenContext&) {
    hooks.push_back("reopen prepare");
    if (refuse_reopen) return failure("the driver says no");
    return {};
}

Status FilterDriver::open(sim::Co& co, OpenContext& context) {
    takes = perms(context.options().get_string("takes"));
    withholds = perms(context.options().get_string("withholds"));
    TRY(context.open_child(co, "file", role_filtered));
    return {};
}

IoResult<std::uint64_t> FilterDriver::length(sim::Co&) {
    return node().filtered_child()->child().length();
}

std::optional<std::uint64_t> FilterDriver::length_with_child(const Edge& child) const {
    return child.child().length();
}

Claim FilterDriver::child_claim(const Edge* edge, RoleSet role, Claim cumulative,
                                bool writable) const {
    Claim claim = Driver::child_claim(edge, role, cumulative, writable);
    claim.used = claim.used | takes;
    claim.shared = claim.shared.without(withholds);
    return claim;
}

Status FormatDriver::open(sim::Co& co, OpenContext& context) {
    TRY(context.open_child(co, "file", role_image));
    TRY(context.open_optional_child(co, "backing", Role::cow));
    return {};
}

IoResult<std::uint64_t> FormatDriver::length(sim::Co&) { return node().file()->child().length(); }

IoStatus FormatDriver::read(sim::Co& co, std::uint64_t offset, sim::IoView into,
                            RequestFlags flags) {
    for (std::uint64_t done = 0; done < into.size();) {
        const std::uint64_t at = offset + done;
        const std::uint64_t part =
            std::min<std::uint64_t>(into.size() - done, cluster_bytes - at % cluster_bytes);
        const sim::IoView view = into.sub(done, part);
        if (allocated.contains(at / cluster_bytes))
            TRY(node().file()->read(co, at, view, flags));
        else if (node().backing() != nullptr)
            TRY(node().backing()->read(co, at, view, flags));
        else
            view.fill(std::byte{0});
        done += part;
    }
    return {};
}

IoStatus FormatDriver::write(sim::Co& co, std::uint64_t offset, sim::IoView from, RequestFlags) {
    for (std::uint64_t done = 0; done < from.size();) {
        const std::uint64_t at = offset + done;
        const std::uint64_t part =
            std::min<std::uint64_t>(from.size() - done, cluster_bytes - at % cluster_bytes);
        const std::uint64_t cluster = at / cluster_bytes;
        if (!allocated.contains(cluster) && part < cluster_bytes) {
            std::vector<std::byte> old(
                std::min(cluster_bytes, node().length() - cluster * cluster_bytes));
            if (node().backing() != nullptr)
                TRY(node().backing()->read(co, cluster * cluster_bytes, std::span(old),
                                           node().backing()->as_granted()));
            TRY(node().file()->write(co, cluster * cluster_bytes, sim::IoView(std::span(old))));
        }
        TRY(node().file()->write(co, at, from.sub(done, part)));
        allocated.insert(cluster);
        done += part;
    }
    return {};
}

Status FormatDriver::truncate(sim::Co& co, std::uint64_t size, bool exact,
                              std::string_view preallocation, RequestFlags flags) {
    return node().file()->truncate(co, size, exact, preallocation, flags);
}

IoResult<BlockStatus> FormatDriver::block_status(sim::Co&, std::uint64_t offset,
                                                 std::uint64_t length) {
    const bool here = allocated.contains(offset / cluster_bytes);
    std::uint64_t end = offset - offset % cluster_bytes + cluster_bytes;
    while (end < offset + length && allocated.contains(end / cluster_bytes) == here)
        end += cluster_bytes;
    BlockStatus status{.length = std::min(length, end - offset), .data = here, .allocated = here};
    if (here) status.file = &node().file()->child(), status.offset = offset;
    return status;
}

namespace {

const DriverRegistration memory({.name = "test-memory",
                                 .kind = DriverKind::protocol,
                                 .options = {optional("size", "size"), optional("tag", "str")},
                                 .make = make_driver<MemoryDriver>});

const DriverRegistration filter({.name = "test-filter",
                                 .kind = DriverKind::filter,
                                 .options = {required("file", "BlockdevRef"),
                                             optional("takes", "str"),
                                             optional("withholds", "str")},
                                 .make = make_driver<FilterDriver>});

const DriverRegistration format({.name = "test-format",
                                 .kind = DriverKind::format,
                                 .options = {required("file", "BlockdevRef"),
                                             optional("backing", "BlockdevRefOrNull")},
                                 .make = make_driver<FormatDriver>,
                                 .supports_backing = true});

}  // namespace
}  // namespace blocklayer::testing
