// SPDX-License-Identifier: Apache-2.0
#include "blocklayer/monitor/qom.hpp"

#include <fmt/format.h>

namespace blocklayer {
namespace {

std::vector<QomResolve>& registry() {
    static std::vector<QomResolve> resolvers;
    return resolvers;
}

}  // namespace

QomRegistration::QomRegistration(QomResolve resolve) { registry().push_back(resolve); }

Result<QomObject> resolve_qom_path(BlockLayer& layer, std::string_view path) {
    // Rooms know different paths, so the order in which they are asked does not show.
    for (const QomResolve resolve : registry())
        if (std::optional<QomObject> object = resolve(layer, path)) return *std::move(object);
    if (path.empty()) return failure("Path '' is ambiguous");
    return Unexpected(Error{.error_class = ErrorClass::device_not_found,
                            .text = fmt::format("Device '{}' not found", path)});
}

}  // namespace blocklayer
