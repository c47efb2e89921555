// SPDX-License-Identifier: Apache-2.0
// SCSI on the wire: operation codes, status bytes, sense data. Values from the standards; never
// invented, never renumbered. Numbers in command blocks are big-endian.
//
// source  SPC-4 (primary commands), SBC-3 (block), MMC-6 (CD/DVD).
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>

namespace hwmodels::scsi {

enum Op : std::uint8_t {
    test_unit_ready = 0x00,
    format_unit = 0x04,
    request_sense = 0x03,
    read_6 = 0x08,
    write_6 = 0x0a,
    inquiry = 0x12,
    mode_select_6 = 0x15,
    reserve_6 = 0x16,
    release_6 = 0x17,
    mode_sense_6 = 0x1a,
    start_stop = 0x1b,
    prevent_allow = 0x1e,
    read_capacity_10 = 0x25,
    read_10 = 0x28,
    write_10 = 0x2a,
    seek_10 = 0x2b,
    write_verify_10 = 0x2e,
    verify_10 = 0x2f,
    synchronize_cache_10 = 0x35,
    write_same_10 = 0x41,
    unmap = 0x42,
    read_toc = 0x43,
    get_configuration = 0x46,
    get_event_status = 0x4a,
    read_disc_information = 0x51,
    mode_select_10 = 0x55,
    reserve_10 = 0x56,
    release_10 = 0x57,
    mode_sense_10 = 0x5a,
    read_16 = 0x88,
    write_16 = 0x8a,
    write_verify_16 = 0x8e,
    verify_16 = 0x8f,
    synchronize_cache_16 = 0x91,
    write_same_16 = 0x93,
    service_action_in_16 = 0x9e,
    report_luns = 0xa0,
    read_12 = 0xa8,
    write_12 = 0xaa,
    read_dvd_structure = 0xad,
    write_verify_12 = 0xae,
    verify_12 = 0xaf,
    mechanism_status = 0xbd,
};
constexpr std::uint8_t read_capacity_16_action = 0x10;

enum Status : std::uint8_t {
    good = 0x00,
    check_condition = 0x02,
    busy = 0x08,
    task_set_full = 0x28,
    task_aborted = 0x40,
};

struct Sense {
    std::uint8_t key = 0, code = 0, qualifier = 0;
    bool operator==(const Sense&) const = default;
};
constexpr Sense no_sense{0, 0, 0};
constexpr Sense not_ready{2, 0x04, 0}, no_medium{2, 0x3a, 0}, tray_open{2, 0x3a, 2};
constexpr Sense medium_error_write{3, 0x0c, 0}, io_error{0x0b, 0, 6}, target_failure{4, 0x44, 0};
constexpr Sense invalid_opcode{5, 0x20, 0}, lba_out_of_range{5, 0x21, 0}, invalid_field{5, 0x24, 0},
    invalid_parameter_list{5, 0x26, 0}, invalid_parameter_length{5, 0x1a, 0},
    lun_not_supported{5, 0x25, 0}, incompatible_format{5, 0x30, 0}, removal_prevented{5, 0x53, 2},
    saving_not_supported{5, 0x39, 0};
constexpr Sense power_on_reset{6, 0x29, 0}, medium_changed{6, 0x28, 0},
    capacity_changed{6, 0x2a, 9}, luns_changed{6, 0x3f, 0x0e};
constexpr Sense write_protected{7, 0x27, 0}, space_exhausted{7, 0x27, 7};
constexpr Sense miscompare{0x0e, 0x1d, 0};

constexpr std::size_t fixed_sense_bytes = 18;
// Fixed format, current error.
inline std::array<std::byte, fixed_sense_bytes> fixed_sense(const Sense& sense) {
    std::array<std::byte, fixed_sense_bytes> bytes{};
    bytes[0] = std::byte{0x70};
    bytes[2] = std::byte{sense.key};
    bytes[7] = std::byte{10};  // bytes after this one
    bytes[12] = std::byte{sense.code};
    bytes[13] = std::byte{sense.qualifier};
    return bytes;
}

// Length of a command block by the group in its operation code; 0: not fixed.
inline std::size_t cdb_length(std::uint8_t op) {
    switch (op >> 5) {
    case 0: return 6;
    case 1:
    case 2: return 10;
    case 4: return 16;
    case 5: return 12;
    default: return 0;
    }
}

inline std::uint64_t get_be(const std::byte* at, int bytes) {
    std::uint64_t value = 0;
    for (int i = 0; i < bytes; ++i) value = value << 8 | std::to_integer<std::uint64_t>(at[i]);
    return value;
}
inline void put_be(std::byte* at, int bytes, std::uint64_t value) {
    for (int i = 0; i < bytes; ++i) at[i] = static_cast<std::byte>(value >> (8 * (bytes - 1 - i)));
}

}  // namespace hwmodels::scsi
