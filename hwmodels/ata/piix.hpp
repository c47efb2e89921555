// SPDX-License-Identifier: Apache-2.0
// PiixIde: the two IDE channels of the pc's chipset, with bus-master DMA.
//
// source  Intel 82371SB (PIIX3), Programming Interface for Bus Master IDE 1.0.
#pragma once
#include <array>
#include <memory>
#include <vector>

#include "hwmodels/ata/bus.hpp"
#include "hwmodels/host_bus/ports.hpp"
#include "hwmodels/pci/device.hpp"
#include "sim/sync.hpp"

namespace hwmodels {

namespace piix {
constexpr std::uint32_t command_ports[2] = {0x1f0, 0x170}, control_ports[2] = {0x3f6, 0x376},
                        lines[2] = {14, 15};
constexpr std::uint32_t bus_master_bar = 4, channel_bytes = 8;
// Bus master registers of a channel.
constexpr std::uint32_t bm_command = 0, bm_status = 2, bm_table = 4;
constexpr std::uint8_t bm_start = 1, bm_to_memory = 8;
constexpr std::uint8_t bm_active = 1, bm_error = 2, bm_interrupt = 4, bm_capable = 0x60;
constexpr std::uint32_t prd_last = 0x8000'0000, prd_bytes = 8;
}  // namespace piix

class PiixIde final : public PciFunction, private PortDevice, private AtaHost {
public:
    PiixIde(Machine& machine, const PciIds& ids);
    ~PiixIde() override;

    // Its two buses, for the machine to keep; once.
    std::vector<std::unique_ptr<Bus>> make_buses();

    std::uint64_t bar_read(std::uint32_t bar, std::uint64_t offset, std::uint32_t size) override;
    void bar_write(std::uint32_t bar, std::uint64_t offset, std::uint32_t size,
                   std::uint64_t value) override;
    void reset_channels();

private:
    struct Channel {
        AtaBus* bus = nullptr;
        std::uint32_t selected = 0;
        std::uint8_t control = 0, command = 0, status = piix::bm_capable;
        std::uint32_t table = 0;
        // Where the transfer is in the table.
        std::uint32_t entry = 0, entry_done = 0;
        bool table_ended = false;
        bool transferring = false;  // a drive uses memory that the table names
        sim::WaitQueue started{"bus master start"};
    };
    std::uint32_t port_read(std::uint32_t port, std::uint32_t size) override;
    void port_write(std::uint32_t port, std::uint32_t size, std::uint32_t value) override;
    // AtaHost
    sim::Thread& thread() const override;
    void interrupt(AtaDrive& drive) override;
    bool move(sim::Co& co, AtaDrive& drive, std::span<std::byte> bytes, bool to_host) override;
    bool map(sim::Co& co, AtaDrive& drive, std::uint64_t bytes,
             std::vector<sim::IoVec>& list) override;
    void moved(AtaDrive&, std::uint64_t) override {}
    void command_ended(AtaDrive& drive) override;
    void reset_ended(AtaDrive& drive) override;
    void cancelled(AtaDrive& drive) override;

    std::size_t index_of(const AtaDrive& drive) const;
    void set_line(std::size_t index, bool high);
    void write_register(std::size_t index, unsigned reg, std::uint32_t size, std::uint32_t value);
    void write_control(std::size_t index, std::uint8_t value);

    Machine& machine_;
    std::array<Channel, 2> channels_;
};

}  // namespace hwmodels
