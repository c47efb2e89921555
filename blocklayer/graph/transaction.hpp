// SPDX-License-Identifier: Apache-2.0
// Transaction: a list of changes already made, each with the way back. All or nothing.
//
// Holding one is the right to change the graph. Undone in reverse order when it is dropped without
// commit(); what must wait until success is sure (releasing replaced nodes) is a commit action.
#pragma once
#include <functional>
#include <vector>

namespace blocklayer {

class Transaction {
public:
    Transaction() = default;
    Transaction(const Transaction&) = delete;
    Transaction& operator=(const Transaction&) = delete;
    ~Transaction() { abort(); }

    void on_abort(std::function<void()> undo) { add(undo_, std::move(undo)); }
    void on_commit(std::function<void()> finish) { add(finish_, std::move(finish)); }
    void commit();  // runs the commit actions in order
    void abort();   // runs the undo actions in reverse order

private:
    using Steps = std::vector<std::function<void()>>;
    static void add(Steps& steps, std::function<void()> step) {
        if (steps.capacity() == 0) steps.reserve(16);  // few changes are larger
        steps.push_back(std::move(step));
    }

    Steps undo_, finish_;
};

}  // namespace blocklayer
