// SPDX-License-Identifier: Apache-2.0
// Transaction: a list of changes already made, each with the way back. All or nothing.
//
// Holding one is the right to change the graph. Undone in reverse order when it is dropped without
// commit(); what must wait until success is sure (releasing replaced nodes) is a commit action.
// What a small one needs it has room for, so that it takes no memory from the heap.
#pragma once
#include <array>
#include <cstddef>
#include <memory>
#include <new>
#include <utility>
#include <vector>

namespace blocklayer {

class Transaction {
public:
    Transaction() = default;
    Transaction(const Transaction&) = delete;
    Transaction& operator=(const Transaction&) = delete;
    ~Transaction() {
        abort();
        drop(kept_);
    }

    template <class Undo>
    void on_abort(Undo undo) {
        undo_.add(make<Action<Undo>>(std::move(undo)));
    }
    template <class Finish>
    void on_commit(Finish finish) {
        finish_.add(make<Action<Finish>>(std::move(finish)));
    }
    void commit();  // runs the commit actions in order
    void abort();   // runs the undo actions in reverse order

    // An object that actions refer to: it stays as long as the transaction.
    template <class Object, class... Args>
    Object& keep(Args&&... args) {
        auto* kept = make<Kept<Object>>(std::forward<Args>(args)...);
        kept_.add(kept);
        return kept->object;
    }

private:
    struct Step {
        virtual ~Step() = default;
        virtual void run() {}
        Step* previous = nullptr;
        Step* next = nullptr;
    };
    template <class Function>
    struct Action final : Step {
        explicit Action(Function what) : function(std::move(what)) {}
        void run() override { function(); }
        Function function;
    };
    template <class Object>
    struct Kept final : Step {
        template <class... Args>
        explicit Kept(Args&&... args) : object(std::forward<Args>(args)...) {}
        Object object;
    };
    struct Steps {
        void add(Step* step) {
            step->previous = last;
            (last != nullptr ? last->next : first) = step;
            last = step;
        }
        Step* first = nullptr;
        Step* last = nullptr;
    };

    template <class T, class... Args>
    T* make(Args&&... args) {
        static_assert(alignof(T) <= alignof(std::max_align_t));
        constexpr std::size_t bytes =
            (sizeof(T) + alignof(std::max_align_t) - 1) & ~(alignof(std::max_align_t) - 1);
        if (bytes > room_bytes - used_)
            return new (more_.emplace_back(new std::byte[bytes]).get())
                T(std::forward<Args>(args)...);
        used_ += bytes;
        return new (room_.data() + (used_ - bytes)) T(std::forward<Args>(args)...);
    }
    static void drop(Steps& steps);

    static constexpr std::size_t room_bytes = 1536;
    alignas(std::max_align_t) std::array<std::byte, room_bytes> room_;
    std::size_t used_ = 0;
    std::vector<std::unique_ptr<std::byte[]>> more_;  // steps that the room is too small for
    Steps undo_, finish_, kept_;
};

}  // namespace blocklayer
