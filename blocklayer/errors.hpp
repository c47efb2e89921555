// SPDX-License-Identifier: Apache-2.0
// Two kinds of failure, never mixed.
//
// I/O path: an errno and nothing else; made millions of times, compared by tests, seen by guests.
// Control path: a QMP error class and a sentence for a person; made once per failed command.
// Neither is thrown. A broken invariant is a third thing: sim/check.hpp stops the run.
#pragma once
#include <cstdint>
#include <memory>
#include <string>

#include "blocklayer/permissions/permissions.hpp"
#include "sim/errno.hpp"
#include "sim/expected.hpp"

namespace blocklayer {

using sim::Errno;
using sim::IoResult;
using sim::IoStatus;
using sim::Unexpected;

// source  QAPI error.json QapiErrorClass.
enum class ErrorClass : std::uint8_t {
    generic,
    command_not_found,
    device_not_active,
    device_not_found,
    kvm_missing_cap,
};

// One end of a permission conflict.
struct Party {
    std::string description;  // "node 'q0'", "block device 'D1'", "commit job 'c0'"
    std::string edge;         // "root", "file", "backing", ...
    bool operator==(const Party&) const = default;
};

// Why a permission request was refused, for programs; Error::text says the same for people.
// Where it is the graph itself that is withheld, graph_mod says from which operation.
struct Refusal {
    std::string node;
    PermSet permissions;  // what clashes
    Party requires_them;  // who needs them
    Party unshares_them;  // who does not share them
    std::string graph_mod = {};  // "mirror-source", "re-point"; empty: a clash of permissions
    bool operator==(const Refusal&) const = default;
};

struct Error {
    ErrorClass error_class = ErrorClass::generic;
    std::string text;  // reference outputs compare it: change it like an interface
    std::shared_ptr<const Refusal> refusal = nullptr;
    Errno code = Errno::invalid;  // for callers that speak errno (jobs, tools)
    std::string hint = {};        // a sentence more, for people only: not in QMP's replies
    bool operator==(const Error& other) const {
        return error_class == other.error_class && text == other.text;
    }
};

template <class T>
using Result = sim::Expected<T, Error>;
using Status = Result<void>;

// Cold, as what leads to it is: see sim::handed_on.
[[gnu::cold, gnu::noinline]] inline Unexpected<Error> failure(std::string text,
                                                              Errno code = Errno::invalid) {
    return Unexpected(Error{.text = std::move(text), .code = code});
}

}  // namespace blocklayer
