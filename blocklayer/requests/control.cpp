// SPDX-License-Identifier: Apache-2.0
// Requests about the node as a whole: flush and truncate.
#include "blocklayer/requests/debug_event.hpp"
#include "blocklayer/layer.hpp"
#include "blocklayer/requests/request.hpp"
#include "sim/mutant.hpp"

namespace blocklayer {
namespace {

constexpr std::uint64_t length_max = INT64_MAX - INT64_MAX % (1u << 30);  // as the reference's

Unexpected<Error> with_errno(std::string text, Errno code) {
    return failure(fmt::format("{}: {}", text, sim::errno_text(code)), code);
}

}  // namespace

IoStatus RequestLayer::flush(sim::Co& co, Node& node) {
    if (node.read_only()) return {};
    if (stack_is_short(co)) return Unexpected(Errno::no_memory);
    const RequestScope scope(co, node);
    const std::uint64_t generation = node.write_generation;
    while (node.flushing_) node.flushed_.wait(co);
    // A format may hold back what nobody wrote; what lies on the host is settled by what was
    // written.
    const bool on_host = node.children().empty();
    if (on_host && (node.flags().no_flush || node.flushed_generation >= generation)) return {};

    struct Flushing {
        explicit Flushing(Node& flushed) : node(flushed) { node.flushing_ = true; }
        ~Flushing() {
            node.flushing_ = false;
            if (!sim::mutant<"requests: the next flush is not woken">()) node.flushed_.wake_one();
        }
        Node& node;
    } flushing(node);
    node.layer().world().emit("flush", node.subject());
    if (Edge* primary = node.primary_child()) primary->fire(co, DebugEvent::flush_to_os);
    TRY(node.driver().flush(co));
    node.flushed_generation = sim::mutant<"requests: a flush covers what came after it">()
                                  ? node.write_generation
                                  : std::max(node.flushed_generation, generation);
    return {};
}

Status RequestLayer::truncate(sim::Co& co, Node& node, std::uint64_t size, bool exact,
                              std::string_view preallocation, RequestFlags flags) {
    if (size > length_max)
        return failure(fmt::format("offset({}) exceeds maximum({})", size, length_max),
                       Errno::too_big);
    if (stack_is_short(co)) return with_errno("Could not resize", Errno::no_memory);
    const std::uint64_t old = node.length();
    const RequestScope scope(co, node);
    node.layer().world().emit("truncate", node.subject(), size);
    // What appears or disappears must not be written to meanwhile.
    TrackedRequest tracked(node.tracked(), std::min(old, size),
                           size > old ? size - old : old - size, /*write=*/true);
    if (size > old)
        tracked.make_serialising(co, 1, /*wait=*/true);
    else
        tracked.wait_for_serialising(co);
    if (node.read_only()) return failure("Image is read-only", Errno::access);

    TRY(node.driver().truncate(co, size, exact, preallocation, flags));
    ++node.write_generation;
    const IoResult<std::uint64_t> length = node.driver().length(co);
    if (!length) return with_errno("Could not refresh total sector count", length.error());
    set_length(node, *length);
    // A longer backing file must not show through in what was added, which is zeroed as a whole.
    const Edge* backing = node.cow_child();
    if (size > old && backing != nullptr && backing->child().length() > old &&
        !sim::mutant<"resize: a longer backing file shows through">()) {
        const IoStatus zeroed = zero_blocks(co, node, old, node.length() - old, {});
        if (!zeroed) return with_errno("Failed to zero out new area", zeroed.error());
    }
    return {};
}

}  // namespace blocklayer
