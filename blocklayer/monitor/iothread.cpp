// SPDX-License-Identifier: Apache-2.0
#include "blocklayer/monitor/iothread.hpp"

#include <algorithm>

#include "blocklayer/layer.hpp"

namespace blocklayer {

std::list<IoThread>& iothreads(BlockLayer& layer) {
    using Threads = std::shared_ptr<std::list<IoThread>>;
    std::any& place = layer.extensions["iothreads"];
    if (!place.has_value()) place = std::make_shared<std::list<IoThread>>();
    return *std::any_cast<Threads&>(place);
}

IoThread* find_iothread(BlockLayer& layer, std::string_view id) {
    auto& threads = iothreads(layer);
    const auto found = std::find_if(threads.begin(), threads.end(),
                                    [&](const IoThread& thread) { return thread.id == id; });
    return found == threads.end() ? nullptr : &*found;
}

}  // namespace blocklayer
