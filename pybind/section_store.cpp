// SPDX-License-Identifier: Apache-2.0
// Python view of host stores: where image files live.
#include <fmt/format.h>
#include <pybind11/stl.h>

#include <algorithm>

#include "pybind/real_file.hpp"
#include "pybind/section.hpp"
#include "pybind/store_handle.hpp"
#include "sim/posix_store.hpp"
#include "sim/resources.hpp"

namespace bindings {

void raise_host_error(sim::Errno error, const std::string& path) {
    const py::object type = py::module_::import("blockstep.errors").attr("HostError");
    PyErr_SetObject(type.ptr(), type(sim::to_int(error), path).ptr());
    throw py::error_already_set();
}

sim::MemoryMedium& MemoryStoreHandle::medium(const std::string& path) const {
    sim::MemoryMedium* found = memory().medium(path);
    if (found == nullptr) raise_host_error(sim::Errno::no_entry, path);
    return *found;
}

namespace {

struct Snapshot {
    sim::MemoryStore::Snapshot files;
};

sim::WriteCache cache_named(const std::string& name) {
    if (name == "none") return sim::WriteCache::none;
    if (name == "volatile") return sim::WriteCache::volatile_;
    throw py::value_error("no write cache '" + name + "' (known: none, volatile)");
}

sim::HostOp operation_named(const std::string& name) {
    static const std::map<std::string, sim::HostOp> operations{
        {"read", sim::HostOp::read},       {"write", sim::HostOp::write},
        {"write-zeroes", sim::HostOp::write_zeroes}, {"discard", sim::HostOp::discard},
        {"flush", sim::HostOp::flush},     {"truncate", sim::HostOp::truncate}};
    const auto found = operations.find(name);
    if (found == operations.end()) throw py::value_error("no host operation '" + name + "'");
    return found->second;
}

py::bytes bytes_of(const sim::ByteImage& image, std::uint64_t offset,
                   std::optional<std::uint64_t> length) {
    if (offset > image.size()) throw py::value_error("past the end of the file");
    const std::uint64_t n = std::min(length.value_or(UINT64_MAX), image.size() - offset);
    py::bytes bytes(nullptr, n);
    auto* data = reinterpret_cast<std::byte*>(PyBytes_AS_STRING(bytes.ptr()));
    image.read(offset, {data, n});
    return bytes;
}

std::span<const std::byte> span_of(const py::buffer_info& buffer) {
    return {static_cast<const std::byte*>(buffer.ptr),
            static_cast<std::size_t>(buffer.size * buffer.itemsize)};
}

sim::ByteImage contents_of(const py::buffer& data) {
    const py::buffer_info buffer = data.request();
    sim::ByteImage image;
    image.write(0, span_of(buffer));
    return image;
}

void put(MemoryStoreHandle& handle, const std::string& path, const py::buffer& data) {
    handle.memory().put(path, contents_of(data));
}

void patch(MemoryStoreHandle& handle, const std::string& path, std::uint64_t offset,
           const py::buffer& data) {
    const py::buffer_info buffer = data.request();
    if (offset > sim::ByteImage::size_max - static_cast<std::uint64_t>(buffer.size))
        throw py::value_error("past the largest file size");
    sim::ByteImage image = handle.medium(path).contents();
    image.write(offset, span_of(buffer));
    handle.medium(path).restore(std::move(image));
}

void import_file(MemoryStoreHandle& handle, const std::string& path, const std::string& real) {
    auto image = load_real_file(real);
    if (!image) raise_host_error(image.error(), real);
    handle.memory().put(path, *std::move(image));
}

void export_file(MemoryStoreHandle& handle, const std::string& path, const std::string& real) {
    const auto saved = save_real_file(real, handle.medium(path).contents());
    if (!saved) raise_host_error(saved.error(), real);
}

void set_disk(MemoryStoreHandle& handle, const std::string& path, const std::string& disk) {
    sim::Resources* resources = sim::Resources::of(handle.world->sim());
    if (resources == nullptr)
        throw py::value_error("the world has no platform with disks: give it one, such as "
                              "platform=\"workstation\"");
    const std::vector<std::string> disks = resources->disks();
    if (std::find(disks.begin(), disks.end(), disk) == disks.end())
        throw sim::PlatformError(fmt::format("the platform has no disk '{}' (it has {})", disk,
                                             fmt::join(disks, ", ")));
    handle.medium(path).set_disk(&resources->disk(disk));
}

void power_cut(MemoryStoreHandle& handle, const std::string& keep) {
    if (keep == "chosen") return handle.memory().power_cut(handle.world->sim());
    if (keep != "all" && keep != "none")
        throw py::value_error("keep is one of chosen, all, none");
    const bool all = keep == "all";
    handle.memory().power_cut(
        [all](const sim::MemoryMedium&, const sim::PendingWrite&, std::size_t) { return all; });
}

void define_memory_store(py::module_& module) {
    py::class_<sim::ByteImage>(module, "FileContents",
                               "The contents of a file, shared by all that hold the same.")
        .def(py::init(&contents_of), "data"_a)
        .def_property_readonly("size", &sim::ByteImage::size, "Bytes.")
        .def_property_readonly("allocated", &sim::ByteImage::allocated_bytes,
                               "Bytes that are not in holes.");
    py::class_<Snapshot>(module, "StoreSnapshot",
                         "All files of a MemoryStore at one moment; costs O(1).")
        .def_property_readonly(
            "files",
            [](const Snapshot& snapshot) {
                std::vector<std::string> names;
                for (const auto& [name, image] : snapshot.files) names.push_back(name);
                return names;
            },
            "Names of the files, sorted.");

    py::class_<MemoryStoreHandle, StoreHandle>(
        module, "MemoryStore", "Files in simulated media, with a write cache that can be lost.")
        .def(py::init([](std::shared_ptr<WorldHandle> world, const std::string& cache) {
                 world->sim();
                 auto& store =
                     world->keep(std::make_unique<sim::MemoryStore>(cache_named(cache)));
                 return MemoryStoreHandle{{std::move(world), &store}};
             }),
             "world"_a, py::kw_only(), "cache"_a = "volatile")
        .def("put", put, "path"_a, "data"_a, "Makes the file, or replaces its contents.")
        .def(
            "put_contents",
            [](MemoryStoreHandle& handle, const std::string& path,
               const sim::ByteImage& contents) { handle.memory().put(path, contents); },
            "path"_a, "contents"_a, "put() of bytes that are there already; costs O(1).")
        .def("patch", patch, "path"_a, "offset"_a, "data"_a,
             "Overwrites bytes behind everybody's back, as a broken disk would.")
        .def(
            "get",
            [](MemoryStoreHandle& handle, const std::string& path, std::uint64_t offset,
               std::optional<std::uint64_t> length) {
                return bytes_of(handle.medium(path).contents(), offset, length);
            },
            "path"_a, "offset"_a = 0, "length"_a = py::none(),
            "Bytes of the file as its readers see them, what is not flushed included.")
        .def(
            "get_durable",
            [](MemoryStoreHandle& handle, const std::string& path, std::uint64_t offset,
               std::optional<std::uint64_t> length) {
                return bytes_of(handle.medium(path).durable(), offset, length);
            },
            "path"_a, "offset"_a = 0, "length"_a = py::none(),
            "Bytes that survive even if everything that is not flushed is lost.")
        .def(
            "size",
            [](MemoryStoreHandle& handle, const std::string& path) {
                return handle.medium(path).contents().size();
            },
            "path"_a, "Bytes.")
        .def(
            "allocated",
            [](MemoryStoreHandle& handle, const std::string& path) {
                return handle.medium(path).contents().allocated_bytes();
            },
            "path"_a, "Bytes that are not in holes.")
        .def("import_file", import_file, "path"_a, "real_path"_a,
             "Copies a real file in; holes stay holes. Raises HostError.")
        .def("export_file", export_file, "path"_a, "real_path"_a,
             "Copies a file out to the real file system. Raises HostError.")
        .def(
            "snapshot", [](MemoryStoreHandle& h) { return Snapshot{h.memory().snapshot()}; },
            "All contents now, for restore() here or in another world.")
        .def(
            "restore",
            [](MemoryStoreHandle& h, const Snapshot& snapshot) {
                h.memory().restore(snapshot.files);
            },
            "snapshot"_a, "Contents become those of the snapshot, all of them durable.")
        .def("power_cut", power_cut, py::kw_only(), "keep"_a = "chosen",
             "The host loses power: unflushed writes survive by the world's choice, all, or none, "
             "in sectors. Whatever was open is dead from here: its requests end with EIO.")
        .def(
            "pending",
            [](MemoryStoreHandle& handle, const std::string& path) {
                return handle.medium(path).pending().size();
            },
            "path"_a, "How many writes a power cut now could lose.")
        .def(
            "fail",
            [](MemoryStoreHandle& handle, const std::string& path, const std::string& operation,
               std::uint64_t skip, std::uint64_t times, int number) {
                if (number <= 0 || number > 255) throw py::value_error("not an errno");
                handle.medium(path).add_fault(
                    {operation_named(operation), skip, times, sim::errno_from_int(number)});
            },
            "path"_a, "operation"_a, py::kw_only(), "skip"_a = 0, "times"_a = 1,
            "errno"_a = EIO,
            "After `skip` operations of this kind (read, write, write-zeroes, discard, flush, "
            "truncate) the next `times` fail.")
        .def(
            "arm",
            [](MemoryStoreHandle& handle, const std::string& path,
               const std::vector<std::string>& kinds, std::int64_t wait_ns) {
                if (wait_ns < 0) throw py::value_error("a duration cannot be negative");
                sim::MediumFaults& faults = handle.medium(path).chosen_faults();
                for (const std::string& name : kinds) {
                    const auto kind = sim::medium_fault_named(name);
                    if (!kind) throw py::value_error("no fault '" + name + "'");
                    faults.arm(*kind);
                }
                faults.set_wait({wait_ns});
            },
            "path"_a, "kinds"_a, py::kw_only(), "wait_ns"_a = 100'000'000,
            "From here on the world's schedule chooses which operations meet these faults: error, "
            "no-space, torn, slow, late, lost, lies. wait_ns: how long slow and late ones take.")
        .def(
            "disarm",
            [](MemoryStoreHandle& handle, const std::string& path) {
                handle.medium(path).clear_faults();
            },
            "path"_a, "No more faults of any kind; answers that were lost are given.")
        .def(
            "set_latency",
            [](MemoryStoreHandle& handle, const std::string& path, std::int64_t ns) {
                if (ns < 0) throw py::value_error("a duration cannot be negative");
                handle.medium(path).set_latency({ns});
            },
            "path"_a, "ns"_a, "Simulated nanoseconds that each operation on the file takes.")
        .def("set_disk", set_disk, "path"_a, "disk"_a,
             "The file lies on this disk of the world's platform, which takes its time.")
        .def(
            "set_capacity",
            [](MemoryStoreHandle& handle, std::uint64_t bytes) {
                handle.memory().set_capacity(bytes);
            },
            "bytes"_a, "Room for all files together; past it writes get ENOSPC. 0: no limit.");
}

const Section section("store", {"world"}, [](py::module_& module) {
    py::class_<StoreHandle>(module, "Store", "Where image files live.")
        .def(
            "list", [](StoreHandle& handle) { return handle.get().list(); },
            "Names of the files, sorted.")
        .def(
            "exists",
            [](StoreHandle& handle, const std::string& path) { return handle.get().exists(path); },
            "path"_a)
        .def(
            "remove",
            [](StoreHandle& handle, const std::string& path) {
                const auto removed = handle.get().remove(path);
                if (!removed) raise_host_error(removed.error(), path);
            },
            "path"_a, "Raises HostError.");

    define_memory_store(module);

    struct PosixStoreHandle : StoreHandle {};
    py::class_<PosixStoreHandle, StoreHandle>(
        module, "PosixStore", "Real files, with the locks the reference takes on them.")
        .def(py::init([](std::shared_ptr<WorldHandle> world) {
                 world->sim();
                 auto& store = world->keep(std::make_unique<sim::PosixStore>());
                 return PosixStoreHandle{{std::move(world), &store}};
             }),
             "world"_a);
});

}  // namespace
}  // namespace bindings
