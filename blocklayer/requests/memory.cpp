// SPDX-License-Identifier: Apache-2.0
#include "blocklayer/requests/memory.hpp"

#include <fmt/format.h>

#include "blocklayer/layer.hpp"

namespace blocklayer {

sim::IoStatus memory_for(const Node& node, std::string_view purpose) {
    BlockLayer& layer = node.layer();
    if (!layer.limits().memory_may_fail) [[likely]]
        return {};
    const std::string site = fmt::format("{}: no memory for {}", node.name(), purpose);
    if (layer.world().fault(2, sim::Label::interned(site)) == 0) return {};
    return sim::Unexpected(sim::Errno::no_memory);
}

}  // namespace blocklayer
