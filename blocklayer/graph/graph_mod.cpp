// SPDX-License-Identifier: Apache-2.0
#include "blocklayer/graph/graph_mod.hpp"

#include <algorithm>
#include <bit>

#include "blocklayer/graph/node.hpp"

namespace blocklayer {
namespace {

constexpr std::string_view names[] = {
    "backup-source",     "backup-target", "change",        "commit-source",
    "commit-target",     "dataplane",     "drive-del",     "eject",
    "external-snapshot", "internal-snapshot", "internal-snapshot-delete", "mirror-source",
    "mirror-target",     "resize",        "stream",        "replace"};

std::shared_ptr<const Refusal> as_data(const Node& node, std::string_view operation,
                                       Party requires_it, Party withholds_it) {
    return std::make_shared<const Refusal>(Refusal{.node = node.name(),
                                                   .permissions = {},
                                                   .requires_them = std::move(requires_it),
                                                   .unshares_them = std::move(withholds_it),
                                                   .graph_mod = std::string(operation)});
}

}  // namespace

std::string_view operation_name(std::uint32_t operation) {
    EXPECTS(std::has_single_bit(operation) && operation <= op_replace);
    return names[std::countr_zero(operation)];
}

const OpBlocker* withheld(const Node& node, std::uint32_t operation) {
    const auto& holds = node.op_blockers();
    const auto newest = std::find_if(holds.rbegin(), holds.rend(), [&](const OpBlocker& hold) {
        return (hold.operations & operation) != 0;
    });
    return newest == holds.rend() ? nullptr : &*newest;
}

Party holder_of(const Node& node, const OpBlocker& hold) {
    for (const Edge* user : node.parents())
        if (user == hold.owner) return user->party();
    return {hold.reason, ""};
}

Status check_graph_mod(const Node& node, std::uint32_t operation) {
    const OpBlocker* hold = withheld(node, operation);
    if (hold == nullptr) return {};
    const std::string_view name = operation_name(operation);
    Error error{.text = fmt::format("Node '{}' is busy: {}", node.describe_2_9(), hold->reason),
                .code = Errno::busy};
    error.refusal = as_data(node, name, {std::string(name), ""}, holder_of(node, *hold));
    return Unexpected(std::move(error));
}

Unexpected<Error> refuse_frozen(std::string text, const Edge& edge, Errno code) {
    Error error{.text = std::move(text), .code = code};
    error.refusal = as_data(edge.child(), "re-point", edge.party(), {edge.frozen_by(), ""});
    return Unexpected(std::move(error));
}

}  // namespace blocklayer
