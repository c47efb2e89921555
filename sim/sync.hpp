// SPDX-License-Identifier: Apache-2.0
// What fibers wait on: mutex, reader-writer lock, event, semaphore, channel.
//
// All are fair (first come, first served): unfairness is the schedule's to add.
#pragma once
#include <cstdint>
#include <deque>
#include <optional>
#include <utility>

#include "sim/check.hpp"
#include "sim/wait_queue.hpp"

namespace sim {

class Mutex {
public:
    explicit Mutex(Label label) : queue_(label) {}
    void lock(Co& co);  // suspends while another fiber holds it
    void unlock();      // the first who waits may try again
    bool held() const { return queue_.owner() != nullptr; }
    bool held_by(const Fiber& fiber) const { return queue_.owner() == &fiber; }

private:
    WaitQueue queue_;  // its owner is the holder
};

class [[nodiscard]] MutexLock {
public:
    MutexLock(Co& co, Mutex& mutex) : mutex_(&mutex) { mutex.lock(co); }
    MutexLock(const MutexLock&) = delete;
    MutexLock& operator=(const MutexLock&) = delete;
    ~MutexLock() {
        if (mutex_ != nullptr) mutex_->unlock();
    }
    void unlock() { std::exchange(mutex_, nullptr)->unlock(); }
    // Takes it again after unlock().
    void lock(Co& co, Mutex& mutex) {
        EXPECTS(mutex_ == nullptr);
        mutex.lock(co);
        mutex_ = &mutex;
    }

private:
    Mutex* mutex_;
};

// Many readers or one writer; a waiting writer holds back later readers.
class RwLock {
public:
    explicit RwLock(Label label) : readers_waiting_(label), writers_waiting_(label) {}
    void lock_shared(Co& co);
    void unlock_shared();
    void lock(Co& co);
    void unlock();

private:
    void pass_on();
    WaitQueue readers_waiting_, writers_waiting_;
    std::uint32_t readers_ = 0;
    bool writer_ = false;
};

// Once set, everybody passes, until it is cleared.
class Event {
public:
    explicit Event(Label label) : queue_(label) {}
    void wait(Co& co) {
        while (!set_) queue_.wait(co);
    }
    void set() {
        set_ = true;
        queue_.wake_all();
    }
    void clear() { set_ = false; }
    bool is_set() const { return set_; }

private:
    WaitQueue queue_;
    bool set_ = false;
};

class Semaphore {
public:
    Semaphore(Label label, std::uint64_t units) : queue_(label), units_(units) {}
    void acquire(Co& co);
    void release();
    std::uint64_t available() const { return units_; }

private:
    WaitQueue queue_;
    std::uint64_t units_;
};

// A queue of values between fibers; unbounded, so that handlers (which cannot wait) may send.
template <class T>
class Channel {
public:
    explicit Channel(Label label) : queue_(label) {}
    void send(T value) {
        EXPECTS(!closed_);
        values_.push_back(std::move(value));
        queue_.wake_one();
    }
    // Suspends until there is a value; nothing when the channel is closed and empty.
    std::optional<T> receive(Co& co) {
        while (values_.empty() && !closed_) queue_.wait(co);
        if (values_.empty()) return std::nullopt;
        std::optional<T> value(std::move(values_.front()));
        values_.pop_front();
        return value;
    }
    void close() {
        closed_ = true;
        queue_.wake_all();
    }
    std::size_t size() const { return values_.size(); }

private:
    WaitQueue queue_;
    std::deque<T> values_;
    bool closed_ = false;
};

}  // namespace sim
