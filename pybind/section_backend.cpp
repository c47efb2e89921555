// SPDX-License-Identifier: Apache-2.0
// Python view of block backends: access to a node without a guest.
#include <fmt/format.h>

#include <algorithm>

#include "blocklayer/graph/drain.hpp"
#include "pybind/section.hpp"
#include "pybind/value_cast.hpp"
#include "pybind/vm_handle.hpp"

namespace bindings {

blocklayer::BlockBackend& BackendHandle::backend() const {
    world->sim();
    if (object == nullptr) throw std::runtime_error("the backend is closed");
    return *object;
}

namespace {

using blocklayer::Perm;
using blocklayer::PermSet;

constexpr std::uint64_t transfer_max = 1ULL << 30;

PermSet permissions_named(const py::iterable& names) {
    PermSet set;
    for (const py::handle name : names) {
        const auto text = name.cast<std::string>();
        PermSet found;
        for (unsigned bit = 0; bit < 4; ++bit) {
            const auto perm = static_cast<Perm>(1U << bit);
            if (blocklayer::wire_name(perm) == text) found = perm;
        }
        if (found.empty()) throw py::value_error("no permission '" + text + "'");
        set = set | found;
    }
    return set;
}

std::unique_ptr<BackendHandle> open_backend(VmHandle& handle, const std::string& node_name,
                                            const py::iterable& use, const py::iterable& share) {
    Vm& vm = handle.vm();
    blocklayer::Node* node = vm.layer.find_node(node_name);
    if (node == nullptr)
        raise_qmp_error({.text = fmt::format("Cannot find device= nor node_name={}", node_name)});
    auto backend = blocklayer::BlockBackend::make(
        vm.layer, {permissions_named(use), permissions_named(share)});
    const blocklayer::Status inserted = backend->insert(*node);
    if (!inserted) raise_qmp_error(inserted.error());
    blocklayer::BlockBackend* object = backend.get();
    vm.backends.push_back(std::move(backend));
    return std::make_unique<BackendHandle>(BackendHandle{handle.world, &vm, object});
}

std::shared_ptr<Future> close_backend(BackendHandle& handle) {
    blocklayer::BlockBackend* object = &handle.backend();
    handle.object = nullptr;
    return handle.world->spawn("close backend", [vm = handle.machine, object](sim::Co& co) {
        if (object->has_medium()) {
            const blocklayer::DrainedSection drained(co, *object->node());
            object->remove();
        }
        std::erase_if(vm->backends, [&](const auto& other) { return other.get() == object; });
        vm->layer.reap(co);
        return [] { return py::none(); };
    });
}

std::shared_ptr<Future> read(BackendHandle& handle, std::uint64_t offset, std::uint64_t length) {
    if (length > transfer_max) throw py::value_error("longer than 1 GiB");
    auto buffer = std::make_shared<std::vector<std::byte>>(length);
    return handle.world->spawn(
        "backend read", [backend = &handle.backend(), offset, buffer](sim::Co& co) {
            const auto done = backend->read(co, offset, sim::IoView(std::span(*buffer)));
            return [done, buffer]() -> py::object {
                if (!done) raise_io_error(done.error());
                return py::bytes(reinterpret_cast<const char*>(buffer->data()), buffer->size());
            };
        });
}

// Requests that only succeed or fail.
template <class Body>
std::shared_ptr<Future> request(BackendHandle& handle, sim::Label label, Body body) {
    return handle.world->spawn(
        label, [backend = &handle.backend(), body = std::move(body)](sim::Co& co) {
            const sim::IoStatus done = body(co, *backend);
            return [done]() -> py::object {
                if (!done) raise_io_error(done.error());
                return py::none();
            };
        });
}

std::shared_ptr<Future> write(BackendHandle& handle, std::uint64_t offset, const py::bytes& data,
                              bool fua) {
    const blocklayer::RequestFlags flags =
        fua ? blocklayer::RequestFlag::fua : blocklayer::RequestFlag::none;
    auto text = std::make_shared<std::string>(data);
    return request(handle, "backend write",
                   [offset, text, flags](sim::Co& co, blocklayer::BlockBackend& backend) {
                       return backend.write(co, offset,
                                            sim::IoView(std::as_bytes(std::span(*text))), flags);
                   });
}

std::shared_ptr<Future> write_zeroes(BackendHandle& handle, std::uint64_t offset,
                                     std::uint64_t length, bool unmap) {
    const blocklayer::RequestFlags flags =
        unmap ? blocklayer::RequestFlag::may_unmap : blocklayer::RequestFlag::none;
    return request(handle, "backend write zeroes",
                   [=](sim::Co& co, blocklayer::BlockBackend& backend) {
                       return backend.write_zeroes(co, offset, length, flags);
                   });
}

std::shared_ptr<Future> discard(BackendHandle& handle, std::uint64_t offset,
                                std::uint64_t length) {
    return request(handle, "backend discard",
                   [=](sim::Co& co, blocklayer::BlockBackend& backend) {
                       return backend.discard(co, offset, length);
                   });
}

std::shared_ptr<Future> flush(BackendHandle& handle) {
    return request(
        handle, "backend flush",
        [](sim::Co& co, blocklayer::BlockBackend& backend) { return backend.flush(co); });
}

std::shared_ptr<Future> check(VmHandle& handle, const std::string& node_name,
                              const std::string& repair) {
    using Driver = blocklayer::Driver;
    static const std::map<std::string, Driver::Repair> repairs{
        {"none", Driver::Repair::none}, {"leaks", Driver::Repair::leaks},
        {"all", Driver::Repair::all}};
    const auto found = repairs.find(repair);
    if (found == repairs.end()) throw py::value_error("repair is one of none, leaks, all");
    blocklayer::Node* node = handle.layer().find_node(node_name);
    if (node == nullptr)
        raise_qmp_error({.text = fmt::format("Cannot find device= nor node_name={}", node_name)});
    return handle.world->spawn(
        "check", [ref = blocklayer::NodeRef(node), what = found->second](sim::Co& co) {
            const auto result = ref->driver().check(co, what);
            return [result]() -> py::object {
                if (!result) raise_io_error(result.error());
                py::dict counts;
                counts["corruptions"] = result->corruptions;
                counts["leaks"] = result->leaks;
                counts["check_errors"] = result->check_errors;
                counts["corruptions_fixed"] = result->corruptions_fixed;
                counts["leaks_fixed"] = result->leaks_fixed;
                py::list messages;
                for (const std::string& message : result->messages) messages.append(message);
                counts["messages"] = messages;
                return counts;
            };
        });
}

const Section section("backend", {"vm"}, [](py::module_& module) {
    py::class_<BackendHandle>(module, "Backend",
                              "A user of a node with permissions; I/O without a guest.")
        .def_property_readonly(
            "size", [](BackendHandle& handle) { return handle.backend().length(); }, "Bytes.")
        .def("read", read, "offset"_a, "length"_a, "Bytes. Raises GuestIoError, as all here.")
        .def("write", write, "offset"_a, "data"_a, py::kw_only(), "fua"_a = false,
             "fua: on stable storage before it is done.")
        .def("write_zeroes", write_zeroes, "offset"_a, "length"_a, py::kw_only(),
             "unmap"_a = false, "unmap: the room may be given back.")
        .def("discard", discard, "offset"_a, "length"_a)
        .def("flush", flush)
        .def("close", close_backend, "Gives the node up, once its requests have ended.");

    module.def("open_backend", open_backend, "vm"_a, "node_name"_a, py::kw_only(), "use"_a,
               "share"_a,
               "A backend on the node. use, share: QAPI permission names. Raises "
               "PermissionRefused.");
    module.def("check_node", check, "vm"_a, "node_name"_a, py::kw_only(), "repair"_a = "none",
               "Checks the image behind a node: counts and messages. repair: none, leaks, all.");
});

}  // namespace
}  // namespace bindings
