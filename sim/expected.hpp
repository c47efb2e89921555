// SPDX-License-Identifier: Apache-2.0
// Expected<T, E>: a value or an error that the caller cannot ignore.
//
// std::expected of g++ 12 may be dropped without a warning; this one is [[nodiscard]] as a type.
#pragma once
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>
#include <variant>

namespace sim {

template <class E>
class [[nodiscard]] Unexpected {
public:
    constexpr explicit Unexpected(E error) : error_(std::move(error)) {}
    constexpr const E& error() const& { return error_; }
    constexpr E&& error() && { return std::move(error_); }

private:
    E error_;
};

// Where an Expected keeps its error: an error that owns things is elsewhere, so that those that
// succeed carry a pointer. What is done with it is cold, and by itself, so that what functions do
// when nothing fails stays close together.
template <class E, bool apart = !std::is_trivially_copyable_v<E>>
class KeptError {
public:
    explicit KeptError(E&& error) : error_(error) {}
    E& operator*() { return error_; }
    const E& operator*() const { return error_; }

private:
    E error_;
};

template <class E>
class KeptError<E, true> {
public:
    KeptError() = default;  // no error
    [[gnu::cold, gnu::noinline]] explicit KeptError(E&& error)
        : error_(new E(std::move(error))) {}
    explicit operator bool() const { return error_ != nullptr; }
    E& operator*() { return *error_; }
    const E& operator*() const { return *error_; }

private:
    struct Drop {
        [[gnu::cold, gnu::noinline]] void operator()(E* error) const { delete error; }
    };
    std::unique_ptr<E, Drop> error_;
};

template <class T, class E>
class [[nodiscard]] Expected {
public:
    using value_type = T;
    using error_type = E;

    Expected(T value) : state_(std::in_place_index<0>, std::move(value)) {}
    template <class F>
    Expected(Unexpected<F> error)
        : state_(std::in_place_index<1>, E(std::move(error).error())) {}

    bool has_value() const { return state_.index() == 0; }
    explicit operator bool() const { return has_value(); }

    T& operator*() & { return *std::get_if<0>(&state_); }
    const T& operator*() const& { return *std::get_if<0>(&state_); }
    T&& operator*() && { return std::move(*std::get_if<0>(&state_)); }
    T* operator->() { return std::get_if<0>(&state_); }
    const T* operator->() const { return std::get_if<0>(&state_); }
    const E& error() const& { return **std::get_if<1>(&state_); }
    E&& error() && { return std::move(**std::get_if<1>(&state_)); }
    T value_or(T fallback) const { return has_value() ? **this : std::move(fallback); }

    friend bool operator==(const Expected& a, const Expected& b) {
        return a && b ? *a == *b : !a && !b && a.error() == b.error();
    }
    friend bool operator==(const Expected& a, const T& value) { return a && *a == value; }
    template <class F>
    friend bool operator==(const Expected& a, const Unexpected<F>& e) {
        return !a && a.error() == e.error();
    }

private:
    std::variant<T, KeptError<E>> state_;
};

template <class E>
class [[nodiscard]] Expected<void, E> {
public:
    using value_type = void;
    using error_type = E;

    Expected() = default;
    template <class F>
    Expected(Unexpected<F> error) : error_(E(std::move(error).error())) {}

    bool has_value() const { return !error_; }
    explicit operator bool() const { return has_value(); }
    void operator*() const {}
    const E& error() const& { return *error_; }
    E&& error() && { return std::move(*error_); }

    friend bool operator==(const Expected& a, const Expected& b) {
        return a ? b.has_value() : !b && a.error() == b.error();
    }
    template <class F>
    friend bool operator==(const Expected& a, const Unexpected<F>& e) {
        return !a && a.error() == e.error();
    }

private:
    std::conditional_t<std::is_trivially_copyable_v<E>, std::optional<E>, KeptError<E>> error_;
};

// The error of one, for a caller to hand on: cold as well.
template <class E>
[[gnu::cold, gnu::noinline]] Unexpected<E> handed_on(E&& error) {
    return Unexpected(std::move(error));
}

}  // namespace sim

// Yields the value, or returns the error from the enclosing function. The only macro that returns.
#define TRY(...)                                                                  \
    __extension__({                                                               \
        auto&& try_result = (__VA_ARGS__);                                        \
        if (!try_result) return ::sim::handed_on(std::move(try_result).error());  \
        *std::move(try_result);                                                   \
    })
