// SPDX-License-Identifier: Apache-2.0
// Actions of the command transaction: any number of changes as one, all or nothing.
//
// Each action prepares in turn and sees what those before it changed. When one cannot, those before
// it are undone in reverse order; when all have, they are committed in order. An action registers
// itself, beside the command it is like.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "blocklayer/errors.hpp"
#include "blocklayer/value.hpp"
#include "sim/co.hpp"

namespace blocklayer {

class BlockLayer;

class TransactionAction {
public:
    virtual ~TransactionAction() = default;
    // May wait. On failure nothing of this action remains; abort() is not called.
    virtual Status prepare(sim::Co& co) = 0;
    virtual void commit(sim::Co&) {}
    virtual void abort(sim::Co&) {}
};

struct TransactionActionSpec {
    std::string type;       // "blockdev-snapshot"
    std::string data_type;  // of the member "data"
    std::unique_ptr<TransactionAction> (*make)(BlockLayer& layer, const Value& data) = nullptr;
    bool can_be_grouped = false;  // understands completion-mode=grouped
};

class TransactionActionRegistration {
public:
    explicit TransactionActionRegistration(TransactionActionSpec spec);
};

template <class Action>
std::unique_ptr<TransactionAction> make_action(BlockLayer& layer, const Value& data) {
    return std::make_unique<Action>(layer, data);
}

std::vector<const TransactionActionSpec*> all_transaction_actions();  // sorted by type

}  // namespace blocklayer
