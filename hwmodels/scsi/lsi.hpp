// SPDX-License-Identifier: Apache-2.0
// The LSI53C895A's registers and SCRIPTS instructions, as devices and guest drivers name them.
//
// source  LSI53C895A PCI to Ultra2 SCSI Controller Technical Manual.
#pragma once
#include <cstdint>

namespace hwmodels::lsi {

constexpr std::uint32_t register_bar = 1;
enum Register : std::uint32_t {
    scntl1 = 0x01,
    sdid = 0x06,
    sfbr = 0x08,
    sbcl = 0x0b,
    dstat = 0x0c,
    dsa = 0x10,
    istat0 = 0x14,
    temp = 0x1c,
    dbc = 0x24,
    dnad = 0x28,
    dsp = 0x2c,
    dsps = 0x30,
    dien = 0x39,
    sien0 = 0x40,
    sien1 = 0x41,
    sist0 = 0x42,
    sist1 = 0x43,
};
constexpr std::uint8_t istat_reset = 0x40, istat_scsi = 2, istat_dma = 1;
constexpr std::uint8_t dstat_empty = 0x80, dstat_aborted = 0x10, dstat_interrupt = 4,
                       dstat_illegal = 1;
constexpr std::uint8_t sist0_mismatch = 0x80, sist0_reset = 0x02, sist1_timeout = 0x04;
constexpr std::uint8_t scntl1_reset = 0x08;

// The bus phase, as an instruction names it in its bits 26 to 24.
enum Phase : std::uint32_t {
    data_out = 0,
    data_in = 1,
    command = 2,
    status = 3,
    message_out = 6,
    message_in = 7,
    bus_free = 8,
};

// Instructions, first word; the second is an address.
constexpr std::uint32_t op_move = 0x0800'0000, op_select_attention = 0x4100'0000,
                        op_wait_disconnect = 0x4800'0000, op_jump = 0x8000'0000,
                        op_interrupt = 0x9800'0000, when_true = 0x0008'0000,
                        compare_phase = 0x0002'0000;

}  // namespace hwmodels::lsi
