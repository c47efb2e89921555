// SPDX-License-Identifier: Apache-2.0
#include "pybind/value_cast.hpp"

#include <fmt/format.h>

#include "blocklayer/monitor/session.hpp"

namespace bindings {
namespace {

using blocklayer::Value;

constexpr int nesting_max = 200;  // a value is walked on the stack

Value convert(const py::handle& object, const std::string& place, int depth) {
    if (depth > nesting_max) throw py::value_error(place + ": nested too deeply");
    if (object.is_none()) return {};
    if (PyBool_Check(object.ptr())) return Value(object.ptr() == Py_True);
    if (PyLong_Check(object.ptr())) {
        int overflow = 0;
        const long long number = PyLong_AsLongLongAndOverflow(object.ptr(), &overflow);
        if (overflow == 0) return Value(static_cast<std::int64_t>(number));
        const unsigned long long large = PyLong_AsUnsignedLongLong(object.ptr());
        if (PyErr_Occurred() != nullptr) throw py::error_already_set();
        return Value(static_cast<std::uint64_t>(large));
    }
    if (PyFloat_Check(object.ptr())) return Value(PyFloat_AS_DOUBLE(object.ptr()));
    if (PyUnicode_Check(object.ptr())) return Value(object.cast<std::string>());
    if (PyDict_Check(object.ptr())) {
        Value dict = Value::dict();
        for (const auto& [key, item] : py::reinterpret_borrow<py::dict>(object)) {
            if (!PyUnicode_Check(key.ptr())) throw py::type_error(place + ": a key is not text");
            auto name = key.cast<std::string>();
            Value value = convert(item, place + "." + name, depth + 1);
            dict.set(std::move(name), std::move(value));
        }
        return dict;
    }
    if (PyList_Check(object.ptr()) || PyTuple_Check(object.ptr())) {
        Value list = Value::list();
        std::size_t index = 0;
        for (const py::handle item : py::reinterpret_borrow<py::sequence>(object))
            list.push(convert(item, fmt::format("{}[{}]", place, index++), depth + 1));
        return list;
    }
    throw py::type_error(fmt::format("{}: a {} has no place in QMP", place,
                                     Py_TYPE(object.ptr())->tp_name));
}

py::object error_type(const char* name) {
    return py::module_::import("blockstep.errors").attr(name);
}

[[noreturn]] void raise(const py::object& error) {
    PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(error.ptr())), error.ptr());
    throw py::error_already_set();
}

py::object party(const blocklayer::Party& party) {
    return error_type("Party")(party.description, party.edge);
}

}  // namespace

py::object to_python(const Value& value) {
    if (value.is_bool()) return py::bool_(value.as_bool());
    if (value.is_int()) return py::int_(value.as_int());
    if (value.is_uint()) return py::int_(value.as_uint());
    if (value.is_double()) return py::float_(value.as_double());
    if (value.is_string()) return py::str(value.as_string());
    if (value.is_list()) {
        py::list list;
        for (const Value& item : value.items()) list.append(to_python(item));
        return list;
    }
    if (value.is_dict()) {
        py::dict dict;
        for (const auto& [name, item] : value.members()) dict[py::str(name)] = to_python(item);
        return dict;
    }
    return py::none();
}

Value from_python(const py::handle& object, const std::string& place) {
    return convert(object, place, 0);
}

py::tuple permission_names(blocklayer::PermSet set) {
    py::list names;
    for (unsigned bit = 0; bit < 4; ++bit) {
        const auto perm = static_cast<blocklayer::Perm>(1U << bit);
        if (set.contains(perm)) names.append(std::string(blocklayer::wire_name(perm)));
    }
    return py::tuple(names);
}

void raise_qmp_error(const blocklayer::Error& error) {
    const std::string error_class(blocklayer::error_class_name(error.error_class));
    if (error.refusal == nullptr) raise(error_type("QmpError")(error_class, error.text));
    const blocklayer::Refusal& refusal = *error.refusal;
    raise(error_type("PermissionRefused")(error_class, error.text, refusal.node,
                                          permission_names(refusal.permissions),
                                          party(refusal.requires_them),
                                          party(refusal.unshares_them), refusal.graph_mod));
}

void raise_io_error(sim::Errno error) { raise(error_type("GuestIoError")(sim::to_int(error))); }

}  // namespace bindings
