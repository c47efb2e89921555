// SPDX-License-Identifier: Apache-2.0
// Assertions, always on: a broken one stops the run with what was expected and where.
//
// EXPECTS before, ENSURES after, INVARIANT always. User input, image contents and guest behaviour
// never reach one: they get an error. Thrown, not aborted, so that World::run can report the last
// trace lines; nothing else catches it.
#pragma once
#include <stdexcept>
#include <string>

namespace sim {

class AssertionFailure : public std::logic_error {
public:
    using std::logic_error::logic_error;
};

// Nothing is broken: what somebody put a check into the world for was found, and ends the run.
class Verdict : public AssertionFailure {
public:
    explicit Verdict(const std::string& text, const std::string& events = "")
        : AssertionFailure(text + events), text_(text) {}
    const std::string& text() const { return text_; }  // without the last events

private:
    std::string text_;
};

[[noreturn, gnu::cold]] void fail_check(const char* kind, const char* condition, const char* file,
                                        int line);

}  // namespace sim

#define SIM_CHECK(kind, ...)                                                       \
    do {                                                                           \
        if (!(__VA_ARGS__)) [[unlikely]]                                           \
            ::sim::fail_check(kind, #__VA_ARGS__, __FILE__, __LINE__);             \
    } while (false)
#define EXPECTS(...) SIM_CHECK("expects", __VA_ARGS__)
#define ENSURES(...) SIM_CHECK("ensures", __VA_ARGS__)
#define INVARIANT(...) SIM_CHECK("invariant", __VA_ARGS__)
