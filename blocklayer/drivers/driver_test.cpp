// SPDX-License-Identifier: Apache-2.0
// Holds:   every driver in drivers/{formats,filters,protocols} has registered itself.
// Method:  the sources are counted: a folder or a file with a registration in it is a driver or
//          several (null-co and null-aio), a file without one is a part of another.
#include "blocklayer/drivers/driver.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "sim/testing/catch.hpp"

namespace blocklayer {
namespace {

std::filesystem::path drivers_folder() {
    std::filesystem::path top = std::filesystem::current_path();
    while (!std::filesystem::exists(top / "blocklayer/drivers/driver.cpp")) {
        REQUIRE(top.has_relative_path());  // the tests run somewhere below the sources
        top = top.parent_path();
    }
    return top / "blocklayer/drivers";
}

std::string text_of(const std::filesystem::path& source) {
    std::stringstream text;
    text << std::ifstream(source).rdbuf();
    return text.str();
}

std::size_t occurrences(std::string_view text, std::string_view word) {
    std::size_t count = 0;
    for (std::size_t at = text.find(word); at != text.npos; at = text.find(word, at + 1)) ++count;
    return count;
}

TEST_CASE("drivers: each one's source has its registration, and all are there", "[drivers]") {
    std::size_t registrations = 0;
    for (const char* kind : {"formats", "filters", "protocols"})
        for (const auto& entry :
             std::filesystem::recursive_directory_iterator(drivers_folder() / kind)) {
            const std::filesystem::path& path = entry.path();
            if (path.extension() != ".cpp" || path.stem().string().ends_with("_test")) continue;
            const std::string code = text_of(path);
            const std::size_t here = occurrences(code, "const DriverRegistration ");
            registrations += here;
            const bool is_driver = occurrences(code, "final : public Driver") > 0 ||
                                   occurrences(code, "final : public Passthrough") > 0;
            CAPTURE(path.string());
            CHECK(is_driver == (here > 0));
        }
    const auto drivers = all_drivers();
    const auto registered =
        std::count_if(drivers.begin(), drivers.end(), [](const DriverSpec* driver) {
            return !std::string_view(driver->name).starts_with("test-");
        });
    CHECK(static_cast<std::size_t>(registered) == registrations);
}

}  // namespace
}  // namespace blocklayer
