// SPDX-License-Identifier: Apache-2.0
// Checker: counts who refers to which host cluster, and compares with what the image says.
//
// More references than the refcount says is damage; fewer is a leak, which only wastes room.
// invariant  an entry that points outside the image file is counted as damage and not followed
#pragma once
#include <fmt/format.h>

#include <string>
#include <vector>

#include "blocklayer/drivers/formats/qcow2/image.hpp"

namespace blocklayer::qcow2 {

class Checker {
public:
    Checker(Image& image, Driver::Repair repair) : image_(image), repair_(repair) {}
    IoResult<Driver::CheckResult> run(sim::Co& co);

private:
    enum class Active : bool { no, yes };

    bool fixes(Driver::Repair what) const {
        return (static_cast<unsigned>(repair_) & static_cast<unsigned>(what)) != 0;
    }
    void say(std::string_view text) { result_.messages.emplace_back(text); }
    void damage(std::string_view text, std::string_view before = "ERROR ") {
        say(fmt::format("{}{}", before, text));
        ++result_.corruptions;
    }
    // False: the range is not within the file, which is damage.
    bool count(std::uint64_t offset, std::uint64_t length);
    IoStatus count_all(sim::Co& co);
    IoStatus count_l1(sim::Co& co, const std::vector<std::uint64_t>& l1, Active active);
    IoStatus count_l2(sim::Co& co, std::uint64_t l2_offset, Active active);
    void count_statistics(std::uint64_t entry);
    IoStatus count_bitmaps(sim::Co& co);
    void count_refcount_structures();
    IoStatus compare(sim::Co& co);
    IoStatus compare_one(sim::Co& co, std::uint64_t cluster);
    IoStatus check_copied(sim::Co& co);
    IoStatus check_copied_l2(sim::Co& co, std::uint64_t l1_index);

    // repair.cpp
    IoStatus rebuild_refcounts(sim::Co& co);
    IoStatus set_count(sim::Co& co, std::uint64_t cluster, std::uint64_t value);
    IoStatus clear_corrupt_mark(sim::Co& co);

    Image& image_;
    Driver::Repair repair_;
    Driver::CheckResult result_;
    std::vector<std::uint32_t> counts_;  // of each cluster of the file
    std::uint64_t next_contiguous_ = 0;
    std::uint64_t broken_structures_ = 0;  // refcount blocks that are not where they can be
};

}  // namespace blocklayer::qcow2
