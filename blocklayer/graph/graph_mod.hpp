// SPDX-License-Identifier: Apache-2.0
// Graph-mod: the permission to change which node an edge leads to, and who withholds it from whom.
//
// Like the four permissions it is used and shared, but by operations instead of by bits: whoever
// relies on the graph around a node (an overlay on its backing image, a job on its nodes) withholds
// the operations that would pull it away, and an operation that needs one of them is refused. Two
// kinds of holds:
//
//   on a node   the operations of a Hold, refused to everybody else: commands ask check_graph_mod()
//               before they touch the graph. The older op blockers are this, seen by operation.
//   on an edge  a frozen edge leads where it leads until its holder lets go: nobody re-points it or
//               cuts it, whatever the command.
//
// invariant  a hold made for an edge ends with that edge
// source     the sixteen operations commands still ask for, and their texts, as observed
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "blocklayer/errors.hpp"

namespace blocklayer {

class Edge;
class Node;

// What an operation re-points or takes apart at the node it asks about.
enum Op : std::uint32_t {
    op_backup_source = 1u << 0,    // a filter is put above
    op_backup_target = 1u << 1,    // contents replaced
    op_change = 1u << 2,           // another backing file
    op_commit_source = 1u << 3,    // a filter above; users moved to what lies below
    op_commit_target = 1u << 4,    // contents replaced, what lies above dropped
    op_dataplane = 1u << 5,        // served by another thread
    op_drive_del = 1u << 6,        // taken away
    op_eject = 1u << 7,            // taken away from its drive
    op_external_snapshot = 1u << 8,  // an overlay above
    op_internal_snapshot = 1u << 9,  // contents kept inside
    op_internal_snapshot_delete = 1u << 10,
    op_mirror_source = 1u << 11,   // a filter above; users moved to the target
    op_mirror_target = 1u << 12,   // contents replaced, users moved here
    op_resize = 1u << 13,          // another length
    op_stream = 1u << 14,          // what lies below dropped
    op_replace = 1u << 15,         // users moved to another node
    op_all = (1u << 16) - 1,
};

// One user's hold on a node.
struct OpBlocker {
    std::uint32_t operations;  // withheld: bits of Op
    std::string reason;        // in the reference's words
    const void* owner = nullptr;  // the edge or job that holds, to find it again
};

// "mirror-source": for programs; messages have the holder's reason instead.
std::string_view operation_name(std::uint32_t operation);
// The hold that an operation meets first (the newest); nullptr: it may go on.
const OpBlocker* withheld(const Node& node, std::uint32_t operation);
// Who has that hold, through which edge; the reason where no edge is behind it.
Party holder_of(const Node& node, const OpBlocker& hold);
// "Node 'x' is busy: <reason>", with the operation and its holder as data.
Status check_graph_mod(const Node& node, std::uint32_t operation);
// The refusal to re-point or cut a frozen edge, in these words.
Unexpected<Error> refuse_frozen(std::string text, const Edge& edge, Errno code = Errno::invalid);

}  // namespace blocklayer
