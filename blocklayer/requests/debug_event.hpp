// SPDX-License-Identifier: Apache-2.0
// Debug events: what a node above, or the request layer, is about to do on a node. blkdebug reacts
// to them with errors, changes of state, delays and breakpoints; everybody else lets them pass.
//
// source  QAPI BlkdebugEvent; which operation fires which: as observed on the real program
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace blocklayer {

enum class DebugEvent : std::uint8_t {
    l1_update, l1_grow_alloc_table, l1_grow_write_table, l1_grow_activate_table, l2_load,
    l2_update, l2_update_compressed, l2_alloc_cow_read, l2_alloc_write, read_aio,
    read_backing_aio, read_compressed, write_aio, write_compressed, vmstate_load,
    vmstate_save, cow_read, cow_write, reftable_load, reftable_grow, reftable_update,
    refblock_load, refblock_update, refblock_update_part, refblock_alloc,
    refblock_alloc_hookup, refblock_alloc_write, refblock_alloc_write_blocks,
    refblock_alloc_write_table, refblock_alloc_switch_table, cluster_alloc,
    cluster_alloc_bytes, cluster_free, flush_to_os, flush_to_disk, pwritev_rmw_head,
    pwritev_rmw_after_head, pwritev_rmw_tail, pwritev_rmw_after_tail, pwritev, pwritev_zero,
    pwritev_done, empty_image_prepare, l1_shrink_write_table, l1_shrink_free_l2_clusters,
    cor_write, cluster_alloc_space, none,
};
constexpr std::size_t debug_event_count = static_cast<std::size_t>(DebugEvent::none) + 1;

std::string_view to_text(DebugEvent event);
std::optional<DebugEvent> find_debug_event(std::string_view name);

// Breakpoints: a request that reaches an event stops there until somebody resumes it by its tag.
class Breakpoints {
public:
    using Say = std::function<void(std::string_view)>;  // told of each stop and each resumption
    virtual ~Breakpoints() = default;
    // False: there is no such event.
    virtual bool set(std::string_view event, std::string tag, Say say) = 0;
    // Also resumes what stopped there. False: there was no breakpoint of that tag.
    virtual bool remove(std::string_view tag) = 0;
    // Resumes one request. False: none has stopped.
    virtual bool resume(std::string_view tag) = 0;
    virtual bool is_suspended(std::string_view tag) const = 0;
};

}  // namespace blocklayer
