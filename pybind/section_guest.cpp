// SPDX-License-Identifier: Apache-2.0
// Python view of the guest: its disks, as its own drivers reach them.
#include <fmt/format.h>

#include <cstring>

#include "pybind/guest.hpp"
#include "pybind/section.hpp"
#include "pybind/value_cast.hpp"
#include "pybind/vm_handle.hpp"

namespace bindings {
namespace {

using hwmodels::guest::CheckedDisk;
using hwmodels::guest::GuestDisk;

constexpr std::uint64_t transfer_max = 1ULL << 30, offset_max = INT64_MAX - transfer_max;

struct GuestDiskHandle {
    std::shared_ptr<WorldHandle> world;
    Vm* machine;
    std::shared_ptr<DrivenDisk> disk;

    // The disk of a world that is open.
    DrivenDisk& get() const {
        world->sim();
        return *disk;
    }
};

std::shared_ptr<Future> open_guest_disk(VmHandle& handle, const std::string& id) {
    Vm* vm = &handle.vm();
    using Opened = blocklayer::Result<std::shared_ptr<DrivenDisk>>;
    return handle.world->spawn(
        "guest opens a disk", [vm, id, world = handle.world.get()](sim::Co& co) {
            auto opened = std::make_shared<Opened>(vm->guest.disk(co, id));
            return [vm, opened, world]() -> py::object {
                if (!*opened) raise_qmp_error(opened->error());
                return py::cast(GuestDiskHandle{world->shared_from_this(), vm, **opened});
            };
        });
}

// A request in a fiber of the guest's that reaches this far. body(co, driver) gives its IoStatus.
template <class Body>
std::shared_ptr<Future> request(GuestDiskHandle& handle, sim::Label label, std::uint64_t end,
                                Body body,
                                std::shared_ptr<std::vector<std::byte>> data = nullptr) {
    handle.get();
    return handle.world->spawn_on(
        handle.machine->guest.machine().cpu(), label,
        [disk = handle.disk, end, body = std::move(body), data = std::move(data)](sim::Co& co) {
            sim::IoStatus done = sim::Unexpected(sim::Errno::no_medium);
            if (!disk->lost) {
                ++disk->in_flight;
                // What lies past the end has no contents; the device is asked all the same.
                CheckedDisk& driver = *disk->driver;
                done = body(co, end <= driver.length() ? driver : driver.disk());
                --disk->in_flight;
            }
            return [done, data]() -> py::object {
                if (!done) raise_io_error(done.error());
                if (data == nullptr) return py::none();
                return py::bytes(reinterpret_cast<const char*>(data->data()), data->size());
            };
        });
}

void check_range(GuestDiskHandle& handle, std::uint64_t offset, std::uint64_t length) {
    const std::uint32_t block = handle.get().driver->block_size();
    if (offset % block != 0 || length % block != 0)
        throw py::value_error(fmt::format("a guest's requests are in whole blocks of {} bytes: "
                                          "offset {}, length {}",
                                          block, offset, length));
    if (length > transfer_max) throw py::value_error("longer than 1 GiB");
    if (offset > offset_max) throw py::value_error("past what any disk can have");
}

std::shared_ptr<Future> read(GuestDiskHandle& handle, std::uint64_t offset, std::uint64_t length) {
    check_range(handle, offset, length);
    auto data = std::make_shared<std::vector<std::byte>>(length);
    return request(
        handle, "guest read", offset + length,
        [offset, into = data](sim::Co& co, GuestDisk& disk) {
            return disk.read(co, offset, std::span(*into));
        },
        data);
}

std::shared_ptr<Future> write(GuestDiskHandle& handle, std::uint64_t offset,
                              const py::buffer& data) {
    const py::buffer_info buffer = data.request();
    auto bytes = std::make_shared<std::vector<std::byte>>(
        static_cast<std::size_t>(buffer.size * buffer.itemsize));
    if (!bytes->empty()) std::memcpy(bytes->data(), buffer.ptr, bytes->size());
    check_range(handle, offset, bytes->size());
    return request(handle, "guest write", offset + bytes->size(),
                   [offset, bytes](sim::Co& co, GuestDisk& disk) {
                       return disk.write(co, offset, std::span(std::as_const(*bytes)));
                   });
}

std::shared_ptr<Future> write_zeroes(GuestDiskHandle& handle, std::uint64_t offset,
                                     std::uint64_t length, bool unmap) {
    check_range(handle, offset, length);
    return request(handle, "guest write zeroes", offset + length,
                   [=](sim::Co& co, GuestDisk& disk) {
                       return disk.write_zeroes(co, offset, length, unmap);
                   });
}

std::shared_ptr<Future> discard(GuestDiskHandle& handle, std::uint64_t offset,
                                std::uint64_t length) {
    check_range(handle, offset, length);
    return request(handle, "guest discard", offset + length, [=](sim::Co& co, GuestDisk& disk) {
        return disk.discard(co, offset, length);
    });
}

std::shared_ptr<Future> flush(GuestDiskHandle& handle) {
    return request(handle, "guest flush", 0,
                   [](sim::Co& co, GuestDisk& disk) { return disk.flush(co); });
}

std::shared_ptr<Future> close(GuestDiskHandle& handle) {
    handle.get();
    return handle.world->spawn("guest closes a disk",
                               [guest = &handle.machine->guest, disk = handle.disk](sim::Co& co) {
                                   guest->close(co, disk);
                                   return [] { return py::none(); };
                               });
}

std::uint64_t size(GuestDiskHandle& handle) {
    DrivenDisk& disk = handle.get();
    const std::uint64_t now = disk.lost ? 0 : disk.driver->length();
    if (now != 0) disk.length = now;
    return disk.length;
}

std::shared_ptr<Future> noticed(VmHandle& handle, const std::string& id) {
    return handle.world->spawn("guest notices a device",
                               [guest = &handle.vm().guest, id](sim::Co& co) {
                                   guest->wait_noticed(co, id);
                                   return [] { return py::none(); };
                               });
}

std::shared_ptr<Future> pull_out(VmHandle& handle, const std::string& id) {
    return handle.world->spawn("device pulled out",
                               [guest = &handle.vm().guest, id](sim::Co& co) {
                                   auto done = std::make_shared<blocklayer::Status>(
                                       guest->pull_out(co, id));
                                   return [done]() -> py::object {
                                       if (!*done) raise_qmp_error(done->error());
                                       return py::none();
                                   };
                               });
}

void set_hotplug(VmHandle& handle, std::int64_t delay_ns, bool refuse) {
    if (delay_ns < 0) throw py::value_error("a duration cannot be negative");
    handle.vm().guest.hotplug_options() = {.delay = {delay_ns}, .refuse = refuse};
}

const Section section("guest", {"vm"}, [](py::module_& module) {
    py::class_<GuestDiskHandle>(
        module, "GuestDisk",
        "A disk as the guest's own driver reaches it, through rings or command blocks.\n\n"
        "Offsets and lengths are bytes, in whole blocks (else ValueError). Requests give futures; "
        "they raise GuestIoError with the errno the driver makes of the device's answer: EIO, "
        "ENOTSUP, ENOMEDIUM once the device is gone, ECANCELED when it was reset.")
        .def_property_readonly(
            "id", [](GuestDiskHandle& handle) { return handle.disk->id; },
            "The device's id in device_add.")
        .def_property_readonly("size", size,
                               "Bytes, as the device says now; the last size of one that is gone.")
        .def_property_readonly(
            "block_size",
            [](GuestDiskHandle& handle) { return handle.get().driver->block_size(); },
            "Bytes: what offsets and lengths are multiples of.")
        .def_property_readonly(
            "read_only", [](GuestDiskHandle& handle) { return handle.get().driver->read_only(); },
            "Whether the device refuses writes.")
        .def_property_readonly(
            "lost", [](GuestDiskHandle& handle) { return handle.disk->lost; },
            "Whether it was closed, unplugged, pulled out, or lost in a reset: open it anew.")
        .def_property_readonly(
            "in_flight", [](GuestDiskHandle& handle) { return handle.disk->in_flight; },
            "Requests under way.")
        .def("read", read, "offset"_a, "length"_a, "The future gives bytes.")
        .def("write", write, "offset"_a, "data"_a,
             "Writes all of the data, which is copied at once.")
        .def("write_zeroes", write_zeroes, "offset"_a, "length"_a, py::kw_only(),
             "unmap"_a = false, "unmap: the room may be given back.")
        .def("discard", discard, "offset"_a, "length"_a,
             "Afterwards the range holds zeroes or what it held before.")
        .def("flush", flush,
             "What had been acknowledged before it is on stable storage when it is done.")
        .def("close", close, "The driver lets go of the device, once its requests have ended.");

    module.def("open_guest_disk", open_guest_disk, "vm"_a, "id"_a,
               "The disk behind the device, driven by the guest from now on; the same one while "
               "it is there. Waits until the machine runs and the guest has noticed the device. "
               "Raises QmpError.");
    module.def("guest_noticed", noticed, "vm"_a, "id"_a,
               "Done when the guest has seen the device, or cannot because it stands still.");
    module.def("pull_out", pull_out, "vm"_a, "id"_a,
               "Takes the device out without asking the guest. Raises QmpError.");
    module.def(
        "lose_power", [](VmHandle& handle) { handle.vm().guest.lose_power(); }, "vm"_a,
        "The machine is dead: its processors stand still for ever, its guest disks are lost.");
    module.def("set_hotplug", set_hotplug, "vm"_a, py::kw_only(), "delay_ns"_a, "refuse"_a,
               "How the guest answers hotplug: after this long, and whether it refuses to let "
               "devices go.");
});

}  // namespace
}  // namespace bindings
