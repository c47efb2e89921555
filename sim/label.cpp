// SPDX-License-Identifier: Apache-2.0
#include "sim/label.hpp"

#include <functional>
#include <string>
#include <unordered_set>

#include "sim/arena.hpp"

namespace sim {

Label Label::interned(std::string_view name) {
    struct Hash {
        using is_transparent = void;
        std::size_t operator()(std::string_view text) const { return hash_text(text); }
    };
    // Asked only, never walked; elements never move.
    static std::unordered_set<std::string, Hash, std::equal_to<>> names;
    auto found = names.find(name);
    if (found == names.end()) {
        const Arena::Outside outside;
        found = names.emplace(name).first;
    }
    return {found->c_str(), hash_text(name)};
}

}  // namespace sim
