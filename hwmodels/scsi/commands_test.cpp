// SPDX-License-Identifier: Apache-2.0
// Holds:   our SCSI disks answer command blocks as the real program's do, byte for byte.
// Method:  every command recorded in testing/commands.txt is sent to the same units here.
#include <fmt/format.h>
#include <fstream>
#include <sstream>

#include "hwmodels/guest/bounce.hpp"
#include "hwmodels/guest/open_disk.hpp"
#include "hwmodels/guest/virtio_scsi.hpp"
#include "hwmodels/testing/machine_fixture.hpp"
#include "sim/testing/catch.hpp"

namespace hwmodels {
namespace {

using blocklayer::Value;
using guest::DataDirection;
using guest::ScsiCommand;
using guest::VirtioScsi;
using testing::MachineFixture;

struct Row {
    std::string unit, cdb, sent, verdict, data;
    std::uint32_t room = 0;
};

std::vector<Row> recorded() {
    std::ifstream file("hwmodels/scsi/testing/commands.txt");
    std::vector<Row> rows;
    for (std::string line; std::getline(file, line);) {
        if (line.starts_with("#")) continue;
        Row row;
        std::istringstream(line) >> row.unit >> row.cdb >> row.room >> row.sent >> row.verdict >>
            row.data;
        rows.push_back(row);
    }
    return rows;
}

// "-", hexadecimal digits, or "5a*512".
std::vector<std::byte> bytes_of(const std::string& text) {
    std::vector<std::byte> bytes;
    if (text == "-") return bytes;
    const std::size_t star = text.find('*');
    for (std::size_t i = 0; i < std::min(star, text.size()); i += 2)
        bytes.push_back(static_cast<std::byte>(std::stoi(text.substr(i, 2), nullptr, 16)));
    if (star != std::string::npos) bytes.resize(std::stoul(text.substr(star + 1)), bytes.front());
    return bytes;
}

std::string verdict_of(const ScsiCommand& command) {
    if (command.overrun) return "overrun";
    if (command.status == scsi::good) return "ok";
    return fmt::format("{:x}/{:02x}/{:02x}", command.sense.key, command.sense.code,
                       command.sense.qualifier);
}

TEST_CASE("scsi: command blocks are answered as the real program answers them", "[scsi]") {
    MachineFixture vm;
    vm.memory("a");
    vm.memory("b");
    REQUIRE(vm.add("virtio-scsi-pci", "hba", "") == "ok");
    const Value given =
        Value::dict({{"serial", "ser1"}, {"wwn", std::uint64_t{0x5000c50015ea71ac}}});
    REQUIRE(vm.add("scsi-hd", "hd", "a", given) == "ok");
    REQUIRE(vm.add("scsi-cd", "cd", "b") == "ok");
    REQUIRE(vm.add("scsi-cd", "empty", "") == "ok");
    vm.machine.resume();
    const auto rows = recorded();
    REQUIRE(rows.size() > 400);
    vm.run([&](sim::Co& co) {
        auto adapter = VirtioScsi::adapter_at(
            co, vm.machine, guest::pci_function_of(*vm.machine.find_device("hba"))->devfn);
        REQUIRE(adapter.has_value());
        for (const Row& row : rows) {
            const auto cdb = bytes_of(row.cdb), sent = bytes_of(row.sent);
            const guest::Bounce data(vm.machine, std::max<std::size_t>(sent.size(), row.room) + 1);
            ScsiCommand command;
            std::copy(cdb.begin(), cdb.end(), command.cdb.begin());
            command.data = data.address();
            if (!sent.empty()) {
                command.direction = DataDirection::to_device;
                command.length = static_cast<std::uint32_t>(sent.size());
                std::copy(sent.begin(), sent.end(), data.bytes());
            } else if (row.room > 0) {
                command.direction = DataDirection::from_device;
                command.length = row.room;
            }
            const std::uint32_t target = row.unit == "hd" ? 0 : row.unit == "cd" ? 1 : 2;
            REQUIRE((*adapter)->execute(co, command, target, 0));
            INFO(row.unit << " " << row.cdb << " " << row.room << " " << row.sent);
            CHECK(verdict_of(command) == row.verdict);
            if (row.data == "-" || row.verdict != "ok") continue;
            std::vector<std::byte> got(data.bytes(), data.bytes() + row.room - command.residual);
            auto want = bytes_of(row.data);
            while (!want.empty() && want.back() == std::byte{0}) want.pop_back();
            while (!got.empty() && got.back() == std::byte{0}) got.pop_back();
            const auto hex = [](const std::vector<std::byte>& bytes) {
                std::string text;
                for (const std::byte b : bytes) text += fmt::format("{:02x}", b);
                return text;
            };
            CHECK(hex(got) == hex(want));
        }
    });
}

}  // namespace
}  // namespace hwmodels
