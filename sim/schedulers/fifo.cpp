// SPDX-License-Identifier: Apache-2.0
// First in, first out: what became ready first runs first.
#include "sim/schedule.hpp"

namespace sim {
namespace {

class Fifo final : public Schedule {
public:
    std::uint32_t choose(std::uint32_t, Label) override { return 0; }
    bool in_order() const override { return true; }
};

}  // namespace

std::unique_ptr<Schedule> fifo_schedule() { return std::make_unique<Fifo>(); }

}  // namespace sim
