// SPDX-License-Identifier: Apache-2.0
// Between Python objects and what the block layer speaks: values and errors.
#pragma once
#include <pybind11/pybind11.h>

#include <string>

#include "blocklayer/errors.hpp"
#include "blocklayer/value.hpp"

namespace bindings {

namespace py = pybind11;

py::object to_python(const blocklayer::Value& value);
// Dictionaries with text keys, lists, tuples, numbers, text, booleans, None. Raises TypeError or
// OverflowError naming the place, e.g. "arguments.file.offset".
blocklayer::Value from_python(const py::handle& object, const std::string& place);

// Raises QmpError, or PermissionRefused when the error says who stands in the way.
[[noreturn]] void raise_qmp_error(const blocklayer::Error& error);
// Raises GuestIoError.
[[noreturn]] void raise_io_error(sim::Errno error);

py::tuple permission_names(blocklayer::PermSet set);

}  // namespace bindings
