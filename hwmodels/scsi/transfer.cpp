// SPDX-License-Identifier: Apache-2.0
#include "hwmodels/scsi/transfer.hpp"

#include "hwmodels/scsi/wire.hpp"

namespace hwmodels::scsi {

namespace {

constexpr std::uint8_t rewind = 0x01, receive_diagnostic = 0x1c, send_diagnostic = 0x1d,
                       prefetch_10 = 0x34, prefetch_16 = 0x90, lock_cache = 0x36,
                       set_cd_speed = 0xbb, read_cd = 0xbe;

// Where the group of the operation code has its length.
std::uint64_t group_length(const std::byte* cdb) {
    switch (std::to_integer<unsigned>(cdb[0]) >> 5) {
    case 0: return get_be(cdb + 4, 1);
    case 1:
    case 2: return get_be(cdb + 7, 2);
    case 4: return get_be(cdb + 10, 4);
    case 5: return get_be(cdb + 6, 4);
    default: return 0;
    }
}

std::uint64_t bytes_of(const std::byte* cdb, std::uint64_t block) {
    const std::uint64_t length = group_length(cdb);
    switch (std::to_integer<std::uint8_t>(cdb[0])) {
    case test_unit_ready:
    case rewind:
    case start_stop:
    case reserve_6:
    case release_6:
    case prevent_allow:
    case seek_10:
    case synchronize_cache_10:
    case synchronize_cache_16:
    case prefetch_10:
    case prefetch_16:
    case lock_cache:
    case set_cd_speed: return 0;
    case format_unit: return (cdb[1] & std::byte{0x10}) != std::byte{0} ? 12 : 0;
    case inquiry:
    case receive_diagnostic:
    case send_diagnostic: return get_be(cdb + 3, 2);
    case read_capacity_10: return 8;
    case mechanism_status:
    case read_dvd_structure: return get_be(cdb + 8, 2);
    case read_6:
    case write_6: return (length == 0 ? 256 : length) * block;
    case read_10:
    case read_12:
    case read_16:
    case write_10:
    case write_12:
    case write_16:
    case write_verify_10:
    case write_verify_12:
    case write_verify_16: return length * block;
    case read_cd: return get_be(cdb + 6, 3) * block;
    case write_same_10:
    case write_same_16: return (cdb[1] & std::byte{1}) != std::byte{0} ? 0 : block;
    case verify_10:
    case verify_12:
    case verify_16:
        switch (std::to_integer<unsigned>(cdb[1]) >> 1 & 3) {
        case 0: return 0;
        case 3: return block;
        default: return length * block;
        }
    default: return length;
    }
}

bool goes_to_device(std::uint8_t op) {
    switch (op) {
    case write_6:
    case write_10:
    case write_12:
    case write_16:
    case write_verify_10:
    case write_verify_12:
    case write_verify_16:
    case verify_10:
    case verify_12:
    case verify_16:
    case write_same_10:
    case write_same_16:
    case unmap:
    case mode_select_6:
    case mode_select_10:
    case format_unit:
    case send_diagnostic: return true;
    default: return false;
    }
}

}  // namespace

Transfer transfer_of(const std::array<std::byte, 16>& cdb, std::uint32_t block_bytes) {
    const std::uint64_t bytes = bytes_of(cdb.data(), block_bytes);
    return {bytes, bytes > 0 && goes_to_device(std::to_integer<std::uint8_t>(cdb[0]))};
}

}  // namespace hwmodels::scsi
