// SPDX-License-Identifier: Apache-2.0
// What a filter says of itself when it hands requests on as they are.
#pragma once
#include "blocklayer/drivers/driver.hpp"
#include "blocklayer/graph/node.hpp"

namespace blocklayer {

// Every flag goes on to the child, which emulates what it lacks.
constexpr Limits passthrough_limits() {
    return {.supports_fua = true, .zeroes_may_unmap = true, .zeroes_supports_fua = true,
            .zeroes_no_fallback = true, .truncate_zeroes = true};
}

// A filter over one child that looks just like it.
class Passthrough : public Driver {
public:
    IoResult<std::uint64_t> length(sim::Co&) override {
        const Edge* child = node().filtered_child();  // a job's filter may have lost it
        if (child == nullptr) return Unexpected(Errno::no_medium);
        return child->child().length();
    }
    Limits limits() const override { return passthrough_limits(); }
    bool supports_reopen() const override { return false; }

protected:
    Edge& below() const { return *node().filtered_child(); }
};

}  // namespace blocklayer
