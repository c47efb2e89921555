// SPDX-License-Identifier: Apache-2.0
#include "sim/check.hpp"

#include <string_view>

namespace sim {

void fail_check(const char* kind, const char* condition, const char* file, int line) {
    std::string_view path = file;
    // Only the path inside the project, so that messages are the same on every machine.
    for (const std::string_view room : {"/sim/", "/blocklayer/", "/hwmodels/", "/pybind/"}) {
        if (const auto at = path.rfind(room); at != path.npos) {
            path.remove_prefix(at + 1);
            break;
        }
    }
    throw AssertionFailure(std::string(path) + ":" + std::to_string(line) + ": " + kind + ": " +
                           condition);
}

}  // namespace sim
