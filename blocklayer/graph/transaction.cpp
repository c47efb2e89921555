// SPDX-License-Identifier: Apache-2.0
#include "blocklayer/graph/transaction.hpp"

namespace blocklayer {

void Transaction::drop(Steps& steps) {
    for (Step* step = std::exchange(steps, {}).first; step != nullptr;) {
        Step* const next = step->next;
        step->~Step();
        step = next;
    }
}

void Transaction::commit() {
    drop(undo_);
    Steps finish = std::exchange(finish_, {});
    for (Step* step = finish.first; step != nullptr; step = step->next) step->run();
    drop(finish);
}

void Transaction::abort() {
    drop(finish_);
    Steps undo = std::exchange(undo_, {});
    for (Step* step = undo.last; step != nullptr; step = step->previous) step->run();
    drop(undo);
}

}  // namespace blocklayer
