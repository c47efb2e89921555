// SPDX-License-Identifier: Apache-2.0
// Replay: the answers of an earlier run, one after the other.
#include "sim/schedule.hpp"

namespace sim {
namespace {

class Replay final : public Schedule {
public:
    Replay(std::vector<Choice> record, std::uint64_t seed, bool* diverged)
        : record_(std::move(record)), after_(random_schedule(seed)), diverged_(diverged) {}

    std::uint32_t choose(std::uint32_t n, Label label) override {
        if (next_ < record_.size() && record_[next_].k < n &&
            record_[next_].label.hash() == label.hash())
            return record_[next_++].k;
        if (diverged_ != nullptr) *diverged_ = true;
        next_ = record_.size();
        return after_->choose(n, label);
    }

private:
    std::vector<Choice> record_;
    std::size_t next_ = 0;
    std::unique_ptr<Schedule> after_;
    bool* diverged_;
};

}  // namespace

std::unique_ptr<Schedule> replay_schedule(std::vector<Choice> record, std::uint64_t seed,
                                          bool* diverged) {
    return std::make_unique<Replay>(std::move(record), seed, diverged);
}

}  // namespace sim
