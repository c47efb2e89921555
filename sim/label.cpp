// SPDX-License-Identifier: Apache-2.0
#include "sim/label.hpp"

#include <set>
#include <string>

namespace sim {

Label Label::interned(std::string_view name) {
    static std::set<std::string, std::less<>> names;  // nodes never move
    auto found = names.find(name);
    if (found == names.end()) found = names.emplace(name).first;
    return {found->c_str(), hash_text(name)};
}

}  // namespace sim
