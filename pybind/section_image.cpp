// SPDX-License-Identifier: Apache-2.0
// Python's way to make images with our own drivers.
#include <fmt/format.h>

#include "blocklayer/drivers/driver.hpp"
#include "pybind/section.hpp"
#include "pybind/value_cast.hpp"
#include "pybind/vm_handle.hpp"

namespace bindings {
namespace {

using blocklayer::Value;

struct Creation {
    const blocklayer::DriverSpec* spec;
    Value options;  // without "driver"
    blocklayer::Status status;
};

std::shared_ptr<Future> create_image(VmHandle& handle, const py::dict& given) {
    auto creation = std::make_shared<Creation>();
    creation->options = from_python(given, "options");
    const Value* driver = creation->options.find("driver");
    if (driver == nullptr || !driver->is_string())
        raise_qmp_error({.text = "Parameter 'driver' is missing"});
    creation->spec = blocklayer::find_driver(driver->as_string());
    if (creation->spec == nullptr || creation->spec->create == nullptr)
        raise_qmp_error({.text = fmt::format("Driver '{}' cannot make images",
                                             driver->as_string())});
    creation->options.erase("driver");
    const auto valid =
        blocklayer::check_members(creation->options, creation->spec->create_options);
    if (!valid) raise_qmp_error(valid.error());
    return handle.world->spawn("create image", [layer = &handle.layer(), creation](sim::Co& co) {
        blocklayer::CreateContext context{*layer, creation->options};
        creation->status = creation->spec->create(co, context);
        layer->reap(co);
        return [creation]() -> py::object {
            if (!creation->status) raise_qmp_error(creation->status.error());
            return py::none();
        };
    });
}

const Section section("image", {"vm"}, [](py::module_& module) {
    module.def("create_image", create_image, "vm"_a, "options"_a,
               "Makes an empty image; options are QAPI's BlockdevCreateOptions. Raises QmpError.");
});

}  // namespace
}  // namespace bindings
