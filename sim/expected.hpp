// SPDX-License-Identifier: Apache-2.0
// Expected<T, E>: a value or an error that the caller cannot ignore.
//
// std::expected of g++ 12 may be dropped without a warning; this one is [[nodiscard]] as a type.
#pragma once
#include <optional>
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

template <class T, class E>
class [[nodiscard]] Expected {
public:
    using value_type = T;
    using error_type = E;

    Expected(T value) : state_(std::in_place_index<0>, std::move(value)) {}
    template <class F>
    Expected(Unexpected<F> error) : state_(std::in_place_index<1>, std::move(error).error()) {}

    bool has_value() const { return state_.index() == 0; }
    explicit operator bool() const { return has_value(); }

    T& operator*() & { return *std::get_if<0>(&state_); }
    const T& operator*() const& { return *std::get_if<0>(&state_); }
    T&& operator*() && { return std::move(*std::get_if<0>(&state_)); }
    T* operator->() { return std::get_if<0>(&state_); }
    const T* operator->() const { return std::get_if<0>(&state_); }
    const E& error() const& { return *std::get_if<1>(&state_); }
    E&& error() && { return std::move(*std::get_if<1>(&state_)); }
    T value_or(T fallback) const { return has_value() ? **this : std::move(fallback); }

    friend bool operator==(const Expected&, const Expected&) = default;
    friend bool operator==(const Expected& a, const T& value) { return a && *a == value; }
    template <class F>
    friend bool operator==(const Expected& a, const Unexpected<F>& e) {
        return !a && a.error() == e.error();
    }

private:
    std::variant<T, E> state_;
};

template <class E>
class [[nodiscard]] Expected<void, E> {
public:
    using value_type = void;
    using error_type = E;

    Expected() = default;
    template <class F>
    Expected(Unexpected<F> error) : error_(std::move(error).error()) {}

    bool has_value() const { return !error_.has_value(); }
    explicit operator bool() const { return has_value(); }
    void operator*() const {}
    const E& error() const& { return *error_; }
    E&& error() && { return std::move(*error_); }

    friend bool operator==(const Expected&, const Expected&) = default;
    template <class F>
    friend bool operator==(const Expected& a, const Unexpected<F>& e) {
        return !a && a.error() == e.error();
    }

private:
    std::optional<E> error_;
};

// The error of one, for a caller to hand on. Cold and by itself, so that what functions do when
// nothing fails stays close together.
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
