// SPDX-License-Identifier: Apache-2.0
#include "blocklayer/graph/transaction.hpp"

#include <utility>

namespace blocklayer {

void Transaction::commit() {
    undo_.clear();
    for (const auto& finish : std::exchange(finish_, {})) finish();
}

void Transaction::abort() {
    finish_.clear();
    const auto undo = std::exchange(undo_, {});
    for (auto step = undo.rbegin(); step != undo.rend(); ++step) (*step)();
}

}  // namespace blocklayer
