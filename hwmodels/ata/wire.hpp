// SPDX-License-Identifier: Apache-2.0
// ATA on the wire: registers, status bits, commands. Values from the standards; never invented,
// never renumbered.
//
// source  ATA/ATAPI-7, ACS-2.
#pragma once
#include <cstdint>

namespace hwmodels::ata {

enum Register : unsigned {
    data = 0,
    error_features = 1,
    sector_count = 2,
    lba_low = 3,
    lba_mid = 4,
    lba_high = 5,
    device = 6,
    status_command = 7,
};

constexpr std::uint8_t status_error = 0x01, status_data_request = 0x08, status_seek = 0x10,
                       status_ready = 0x40, status_busy = 0x80;
constexpr std::uint8_t error_aborted = 0x04, error_uncorrectable = 0x40;
constexpr std::uint8_t device_lba = 0x40, device_second = 0x10;
constexpr std::uint8_t control_no_interrupt = 0x02, control_reset = 0x04;
// Why a packet device asks for attention: in its sector count register.
constexpr std::uint8_t reason_command = 1, reason_to_host = 2, reason_done = 3;

enum Command : std::uint8_t {
    nop = 0x00,
    data_set_management = 0x06,
    device_reset = 0x08,
    recalibrate = 0x10,
    read_sectors = 0x20,
    read_sectors_ext = 0x24,
    read_dma_ext = 0x25,
    read_native_max_ext = 0x27,
    read_multiple_ext = 0x29,
    write_sectors = 0x30,
    write_sectors_ext = 0x34,
    write_dma_ext = 0x35,
    write_multiple_ext = 0x39,
    write_dma_fua_ext = 0x3d,
    verify = 0x40,
    verify_ext = 0x42,
    read_queued = 0x60,
    write_queued = 0x61,
    seek = 0x70,
    diagnose = 0x90,
    initialize_parameters = 0x91,
    packet = 0xa0,
    identify_packet = 0xa1,
    read_multiple = 0xc4,
    write_multiple = 0xc5,
    set_multiple = 0xc6,
    read_dma = 0xc8,
    write_dma = 0xca,
    standby_now = 0xe0,
    idle_now = 0xe1,
    standby = 0xe2,
    idle = 0xe3,
    check_power = 0xe5,
    sleep = 0xe6,
    flush = 0xe7,
    flush_ext = 0xea,
    identify = 0xec,
    set_features = 0xef,
    read_native_max = 0xf8,
};

constexpr std::uint64_t sector_bytes = 512;

}  // namespace hwmodels::ata
