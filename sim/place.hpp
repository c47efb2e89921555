// SPDX-License-Identifier: Apache-2.0
// Place: a part of the world's state, for saying where a step may read and write.
//
// Every runnable is in a place, "anywhere" unless somebody says otherwise; a fiber moves from place
// to place (World::Within). A step touches all places it was in. Steps that touched different
// places may be taken to commute, so what a step writes has to be in a place it is in, or be told
// with World::touch; what only steps that are anywhere write needs no place.
#pragma once
#include <cstdint>
#include <string_view>

#include "sim/label.hpp"

namespace sim {

class Place {
public:
    constexpr Place() = default;  // anywhere
    // The same name is the same place. Names do not depend on the order of a run.
    static constexpr Place named(std::string_view kind, std::string_view name) {
        Place place;
        place.subject_ = (hash_text(kind) * 0x9e3779b97f4a7c15U ^ hash_text(name)) | 1;
        return place;
    }
    constexpr bool anywhere() const { return subject_ == 0; }
    constexpr std::uint64_t subject() const { return subject_; }
    constexpr bool operator==(const Place&) const = default;

private:
    std::uint64_t subject_ = 0;
};

}  // namespace sim
