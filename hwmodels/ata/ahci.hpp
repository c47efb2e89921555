// SPDX-License-Identifier: Apache-2.0
// AHCI registers and structures in memory, as the adapter and guest drivers name them.
//
// source  Serial ATA AHCI 1.3.1.
#pragma once
#include <cstdint>

namespace hwmodels::ahci {

constexpr std::uint32_t bar = 5, ports = 6;
// Of the adapter.
constexpr std::uint32_t capabilities = 0x00, control = 0x04, interrupts = 0x08, implemented = 0x0c,
                        version = 0x10, first_port = 0x100, port_bytes = 0x80;
constexpr std::uint32_t control_reset = 1, control_interrupts = 2, control_ahci = 0x8000'0000;
// Of a port.
constexpr std::uint32_t list_base = 0x00, fis_base = 0x08, port_interrupts = 0x10,
                        port_enable = 0x14, port_command = 0x18, task_file = 0x20, signature = 0x24,
                        sata_status = 0x28, sata_control = 0x2c, sata_error = 0x30, issued = 0x38;
constexpr std::uint32_t command_start = 1, command_receive = 0x10, command_receives = 0x4000,
                        command_runs = 0x8000;
constexpr std::uint32_t interrupt_register = 1, interrupt_error = 1U << 30;
constexpr std::uint32_t link_up = 0x113, link_reset = 1;
// In memory.
constexpr std::uint32_t header_bytes = 32, header_packet = 0x20, table_packet = 0x40,
                        table_regions = 0x80, region_bytes = 16, received_register = 0x40;
constexpr std::uint8_t fis_to_device = 0x27, fis_to_host = 0x34, fis_is_command = 0x80;

}  // namespace hwmodels::ahci
