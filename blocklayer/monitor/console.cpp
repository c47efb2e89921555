// SPDX-License-Identifier: Apache-2.0
#include "blocklayer/monitor/console.hpp"

#include "blocklayer/layer.hpp"

namespace blocklayer {
namespace {

using Write = std::function<void(std::string_view)>;
constexpr const char* key = "console";

}  // namespace

void set_console(BlockLayer& layer, Write write) { layer.extensions[key] = std::move(write); }

void print(BlockLayer& layer, std::string_view text) {
    const auto found = layer.extensions.find(key);
    if (found != layer.extensions.end()) std::any_cast<const Write&>(found->second)(text);
}

}  // namespace blocklayer
