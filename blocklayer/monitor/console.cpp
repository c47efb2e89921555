// SPDX-License-Identifier: Apache-2.0
#include "blocklayer/monitor/console.hpp"

#include "blocklayer/layer.hpp"

namespace blocklayer {
namespace {

using Write = std::function<void(std::string_view)>;
constexpr const char* output_key = "console";
constexpr const char* error_key = "error console";

void write_to(BlockLayer& layer, const char* key, std::string_view text) {
    const auto found = layer.extensions.find(key);
    if (found != layer.extensions.end()) std::any_cast<const Write&>(found->second)(text);
}

}  // namespace

void set_console(BlockLayer& layer, Write write) {
    layer.extensions[output_key] = std::move(write);
}
void print(BlockLayer& layer, std::string_view text) { write_to(layer, output_key, text); }

void set_error_console(BlockLayer& layer, Write write) {
    layer.extensions[error_key] = std::move(write);
}
void print_error(BlockLayer& layer, std::string_view text) { write_to(layer, error_key, text); }

}  // namespace blocklayer
