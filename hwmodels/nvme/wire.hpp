// SPDX-License-Identifier: Apache-2.0
// NVMe on the wire: registers, commands, status codes. Values from the specification; never
// invented, never renumbered.
//
// source  NVM Express 1.4.
#pragma once
#include <cstddef>
#include <cstdint>

namespace hwmodels::nvme {

// Registers in BAR 0.
constexpr std::uint64_t reg_capabilities = 0x00, reg_version = 0x08, reg_mask_set = 0x0c,
                        reg_mask_clear = 0x10, reg_configuration = 0x14, reg_status = 0x1c,
                        reg_admin_sizes = 0x24, reg_admin_submission = 0x28,
                        reg_admin_completion = 0x30, reg_doorbells = 0x1000;
constexpr std::uint32_t cc_enable = 1, csts_ready = 1, csts_fatal = 2;

enum AdminOp : std::uint8_t {
    delete_submission_queue = 0x00,
    create_submission_queue = 0x01,
    get_log_page = 0x02,
    delete_completion_queue = 0x04,
    create_completion_queue = 0x05,
    identify = 0x06,
    abort = 0x08,
    set_features = 0x09,
    get_features = 0x0a,
    async_event_request = 0x0c,
};
enum Op : std::uint8_t {
    flush = 0x00,
    write = 0x01,
    read = 0x02,
    compare = 0x05,
    write_zeroes = 0x08,
    data_set_management = 0x09,
};

enum Status : std::uint16_t {
    success = 0x00,
    invalid_opcode = 0x01,
    invalid_field = 0x02,
    data_transfer_error = 0x04,
    internal_error = 0x06,
    aborted_queue_deleted = 0x08,
    invalid_namespace = 0x0b,
    lba_out_of_range = 0x80,
    capacity_exceeded = 0x81,
    invalid_completion_queue = 0x100,
    invalid_queue_id = 0x101,
    invalid_queue_size = 0x102,
    invalid_queue_deletion = 0x10c,
    invalid_feature = 0x02,
    read_only = 0x182,
    write_fault = 0x280,
    unrecovered_read = 0x281,
    compare_failure = 0x285,
};
constexpr std::uint16_t do_not_retry = 0x4000;

constexpr std::size_t command_bytes = 64, completion_bytes = 16, identify_bytes = 4096,
                      range_bytes = 16;
constexpr std::uint8_t feature_write_cache = 0x06, feature_queues = 0x07;
constexpr std::uint32_t cns_namespace = 0, cns_controller = 1, cns_active = 2;
constexpr std::uint32_t force_unit_access = 1U << 30, deallocate_attribute = 1U << 2;

struct Command {
    std::uint8_t opcode = 0, flags = 0;
    std::uint16_t id = 0;
    std::uint32_t name_space = 0;
    std::uint64_t reserved = 0, metadata = 0, prp1 = 0, prp2 = 0;
    std::uint32_t dw10 = 0, dw11 = 0, dw12 = 0, dw13 = 0, dw14 = 0, dw15 = 0;
    std::uint64_t lba() const { return dw10 | std::uint64_t{dw11} << 32; }
    std::uint64_t blocks() const { return (dw12 & 0xffffU) + 1U; }
};
static_assert(sizeof(Command) == command_bytes);

}  // namespace hwmodels::nvme
