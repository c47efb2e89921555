// SPDX-License-Identifier: Apache-2.0
// Python view of loads: processes in the guest that work on a disk without a line of Python, and
// the contents they are held against.
#include <fmt/format.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <optional>

#include "hwmodels/guest/load.hpp"
#include "pybind/guest.hpp"
#include "pybind/section.hpp"
#include "pybind/value_cast.hpp"
#include "pybind/vm_handle.hpp"

namespace bindings {
namespace {

using hwmodels::guest::CheckedDisk;
using hwmodels::guest::ContentOracle;
using hwmodels::guest::Load;
using hwmodels::guest::LoadOptions;
using hwmodels::guest::LoadResult;

constexpr std::uint64_t longest_max = 16ULL << 20, verify_bytes = 64 * 1024;

struct ContentsHandle {
    std::shared_ptr<ContentOracle> oracle;
};

// What is wrong with the numbers themselves. Raises ValueError.
void check_options(const LoadOptions& options) {
    const auto refuse = [](const std::string& what) { throw py::value_error(what); };
    if (const unsigned chances =
            options.reads + options.zeroes + options.discards + options.flushes;
        std::max({options.reads, options.zeroes, options.discards, options.flushes}) > 16 ||
        chances > 16)
        refuse(fmt::format("reads, zeroes, discards and flushes are chances out of 16, together: "
                           "{} + {} + {} + {}",
                           options.reads, options.zeroes, options.discards, options.flushes));
    if (options.longest > longest_max)
        refuse(fmt::format("longest: {} bytes in one request, more than 16 MiB", options.longest));
    if (options.pieces == 0) refuse("pieces: at least 1");
    if (options.pieces > 1 && options.stride < options.area)
        refuse(fmt::format("stride: pieces of {} bytes overlap when each begins {} bytes after the "
                           "one before",
                           options.area, options.stride));
}

// What is wrong with them on this disk; empty: nothing.
std::string misfit(const LoadOptions& options, const DrivenDisk& disk) {
    for (const auto& [name, value] : {std::pair("area", options.area),
                                      std::pair("longest", options.longest),
                                      std::pair("stride", options.stride)})
        if (value % options.unit != 0 || (value == 0 && name != std::string_view("stride")))
            return fmt::format("{}: {} bytes are not whole blocks of {} bytes on disk '{}'", name,
                               value, options.unit, disk.id);
    if (options.longest > options.area)
        return fmt::format("longest: a request of {} bytes does not fit an area of {}",
                           options.longest, options.area);
    const std::uint64_t length = disk.driver->length();
    if (options.area > length ||
        (options.pieces > 1 && options.stride > (length - options.area) / (options.pieces - 1)))
        return fmt::format("area: {} pieces of {} bytes, {} bytes apart, do not fit disk '{}' of "
                           "{} bytes",
                           options.pieces, options.area, options.stride, disk.id, length);
    return {};
}

// A fiber of the guest with the disk, which is checked; body(co, guest, disk) gives the result.
template <class Body>
std::shared_ptr<Future> with_disk(VmHandle& handle, sim::Label label, const std::string& id,
                                  const std::optional<ContentsHandle>& contents, Body body) {
    Guest* guest = &handle.vm().guest;
    if (const auto known = guest->know_contents(id, contents ? contents->oracle : nullptr); !known)
        throw std::runtime_error(known.error().text);
    return handle.world->spawn_on(
        guest->machine().cpu(), label,
        [guest, id, body = std::move(body)](sim::Co& co) mutable -> Future::Result {
            auto opened = guest->disk(co, id);
            if (opened) return body(co, *guest, *opened);
            return [error = std::make_shared<blocklayer::Error>(opened.error())]() -> py::object {
                raise_qmp_error(*error);
            };
        });
}

Future::Result value_error(std::string what) {
    return [what = std::move(what)]() -> py::object {
        PyErr_SetString(PyExc_ValueError, what.c_str());
        throw py::error_already_set();
    };
}

Future::Result run_load(sim::Co& co, Guest& guest, const std::shared_ptr<DrivenDisk>& disk,
                        LoadOptions options, const std::shared_ptr<Future>& until) {
    options.unit = std::max<std::uint64_t>(options.unit, disk->driver->block_size());
    if (std::string wrong = misfit(options, *disk); !wrong.empty())
        return value_error(std::move(wrong));
    bool over = false;
    if (until != nullptr) options.until = &over;
    Load load(co.world(), guest.name_in_world(disk->id), guest.next_load(disk->id), options,
              [&over, disk, until]() -> CheckedDisk* {
                  over = until == nullptr || until->done();
                  return disk->lost ? nullptr : disk->driver.get();
              });
    ++disk->in_flight;
    const sim::IoStatus status = load.run(co);
    --disk->in_flight;
    return [status, result = load.result()]() -> py::object {
        if (!status) raise_io_error(status.error());
        return py::cast(result);
    };
}

std::shared_ptr<Future> guest_load(VmHandle& handle, const std::string& id, unsigned operations,
                                   std::uint64_t area, unsigned pieces, std::uint64_t stride,
                                   std::uint64_t longest, unsigned reads, unsigned zeroes,
                                   unsigned discards, unsigned flushes, std::uint64_t think,
                                   bool errors_allowed, const std::shared_ptr<Future>& until,
                                   const std::optional<ContentsHandle>& contents) {
    const LoadOptions options{.operations = operations,
                              .area = area,
                              .pieces = pieces,
                              .stride = stride,
                              .longest = longest,
                              .reads = reads,
                              .zeroes = zeroes,
                              .discards = discards,
                              .flushes = flushes,
                              .think = think,
                              .errors_allowed = errors_allowed,
                              .ends_with_disk = true};
    check_options(options);
    return with_disk(handle, "guest load", id, contents,
                     [options, until](sim::Co& co, Guest& guest, const auto& disk) {
                         return run_load(co, guest, disk, options, until);
                     });
}

Future::Result read_back(sim::Co& co, const std::shared_ptr<DrivenDisk>& disk) {
    std::vector<std::byte> data(verify_bytes);
    std::uint64_t checked = 0;
    sim::IoStatus status;
    ++disk->in_flight;
    for (std::uint64_t at = 0; status && !disk->lost && at < disk->driver->length();
         at += verify_bytes) {
        const auto part = std::span(data).first(
            std::min<std::uint64_t>(verify_bytes, disk->driver->length() - at));
        if (!disk->driver->oracle().in_use(at, part.size())) continue;
        status = disk->driver->read(co, at, part);
        checked += part.size();
    }
    --disk->in_flight;
    if (disk->lost) status = sim::Unexpected(sim::Errno::no_medium);
    return [status, checked]() -> py::object {
        if (!status) raise_io_error(status.error());
        return py::int_(checked);
    };
}

std::shared_ptr<Future> guest_verify(VmHandle& handle, const std::string& id,
                                     const std::optional<ContentsHandle>& contents) {
    return with_disk(handle, "guest reads everything back", id, contents,
                     [](sim::Co& co, Guest&, const auto& disk) { return read_back(co, disk); });
}

void define_results(py::module_& module) {
    py::class_<ContentsHandle>(
        module, "GuestContents",
        "What a disk may hold, given what the guest did and was told; see VM.guest_load.")
        .def(py::init([](const std::string& name) {
                 return ContentsHandle{std::make_shared<ContentOracle>(name)};
             }),
             "name"_a, "name: what errors call the disk.");
    py::class_<LoadResult>(module, "LoadResult", "What the requests of a guest_load came to.")
        .def_readonly("reads", &LoadResult::reads, "Reads that succeeded; all were checked.")
        .def_readonly("writes", &LoadResult::writes, "Writes that succeeded.")
        .def_readonly("zeroes", &LoadResult::zeroes, "Writes of zeroes that succeeded.")
        .def_readonly("discards", &LoadResult::discards, "Discards that succeeded.")
        .def_readonly("flushes", &LoadResult::flushes, "Flushes that succeeded.")
        .def_readonly("failed", &LoadResult::failed, "Requests that failed.")
        .def_readonly("left_out", &LoadResult::left_out,
                      "Operations that the explorer left out.")
        .def_readonly("cut_off", &LoadResult::cut_off,
                      "Operations that were not begun, because the disk was gone.")
        .def("__repr__", [](const LoadResult& result) {
            return fmt::format("<{} reads, {} writes, {} zeroes, {} discards, {} flushes, {} "
                               "failed, {} left out, {} cut off>",
                               result.reads, result.writes, result.zeroes, result.discards,
                               result.flushes, result.failed, result.left_out, result.cut_off);
        });
}

const Section section("load", {"guest"}, [](py::module_& module) {
    define_results(module);
    const LoadOptions usual;
    module.def("guest_load", guest_load, "vm"_a, "id"_a, py::kw_only(),
               "operations"_a = usual.operations, "area"_a = usual.area,
               "pieces"_a = usual.pieces, "stride"_a = usual.stride,
               "longest"_a = usual.longest, "reads"_a = usual.reads, "zeroes"_a = usual.zeroes,
               "discards"_a = usual.discards, "flushes"_a = usual.flushes,
               "think"_a = usual.think, "errors_allowed"_a = usual.errors_allowed,
               "until"_a = py::none(), "contents"_a = py::none(),
               "A process of the guest that works on a disk; see VM.guest_load.");
    module.def("guest_verify", guest_verify, "vm"_a, "id"_a, "contents"_a = py::none(),
               "Reads back what the guest used of a disk; see VM.guest_verify.");
});

}  // namespace
}  // namespace bindings
