// SPDX-License-Identifier: Apache-2.0
#include "hwmodels/guest/nvme.hpp"

#include <algorithm>
#include <cstring>

#include "hwmodels/guest/bounce.hpp"
#include "hwmodels/guest/open_disk.hpp"
#include "sim/check.hpp"
#include "sim/fiber.hpp"

namespace hwmodels::guest {

using blocklayer::failure;
using blocklayer::Result;
using blocklayer::Status;
using sim::Errno;
using sim::IoResult;
using sim::IoStatus;
using sim::Unexpected;

namespace {

constexpr std::uint64_t page_bytes = 4096;
constexpr NvmeQueueShape admin_shape;
constexpr std::uint64_t request_bytes_max = 1 << 18;
constexpr std::uint16_t vendor = 0x1b36, device = 0x0010;
constexpr sim::Duration poll_delay = sim::microseconds(10);
constexpr int ready_polls_max = 100'000;

Errno errno_of(std::uint16_t status) {
    switch (status) {
    case nvme::invalid_opcode: return Errno::not_supported;
    case nvme::capacity_exceeded: return Errno::no_space;
    default: return Errno::io;
    }
}

}  // namespace

NvmeDisk::NvmeDisk(Machine& machine, int devfn) : machine_(machine) {
    machine.pci().assign_addresses();
    PciFunction* function = machine.pci().at(devfn);
    function->config_write(
        pci_config::command, 2,
        function->config_read(pci_config::command, 2) | pci_config::command_master);
    registers_ = function->bar_address(0);
    line_ = function->intx_line();
    handler_ = machine.interrupts().add_line_handler(line_, [this] { on_interrupt(); });
}

NvmeDisk::~NvmeDisk() {
    machine_.interrupts().remove_line_handler(line_, handler_);
    // The queues' memory is about to be used for something else: the device must not see them.
    if (!gone_) write_register(nvme::reg_configuration, 4, 0);
    drop_queues();
}

Result<std::unique_ptr<NvmeDisk>> NvmeDisk::attach(sim::Co& co, Machine& machine, int devfn) {
    const PciFunction* function = devfn >= 0 && devfn < 256 ? machine.pci().at(devfn) : nullptr;
    if (function == nullptr || function->config_read(pci_config::vendor_id, 2) != vendor ||
        function->config_read(pci_config::device_id, 2) != device)
        return failure("not an NVMe controller");
    std::unique_ptr<NvmeDisk> disk(new NvmeDisk(machine, devfn));
    TRY(disk->start(co));
    return disk;
}

std::uint64_t NvmeDisk::read_register(std::uint64_t offset, std::uint32_t size) const {
    return machine_.pci().memory_read(registers_ + offset, size);
}

void NvmeDisk::write_register(std::uint64_t offset, std::uint32_t size, std::uint64_t value) {
    machine_.pci().memory_write(registers_ + offset, size, value);
}

// ---- start and end -----------------------------------------------------------------------------

void NvmeDisk::make_queue(Queue& queue, NvmeQueueShape shape) {
    EXPECTS(shape.submissions >= 2 && shape.submissions <= admin_shape.submissions &&
            shape.completions >= 2 && shape.completions <= admin_shape.completions);
    queue = {};
    queue.shape = shape;
    queue.submissions = heap_of(machine_).take(page_bytes);
    queue.completions = heap_of(machine_).take(page_bytes);
    EXPECTS(queue.submissions != 0 && queue.completions != 0);
    std::memset(machine_.memory().span(queue.completions, page_bytes), 0, page_bytes);
    queue.waiters.resize(shape.submissions);
    // One entry stays empty: a full queue would look like an empty one.
    for (std::uint16_t id = 0; id < shape.submissions - 1; ++id) queue.free.push_back(id);
}

void NvmeDisk::drop_queue(Queue& queue) {
    if (queue.submissions != 0) heap_of(machine_).give_back(queue.submissions);
    if (queue.completions != 0) heap_of(machine_).give_back(queue.completions);
    queue = {};
}

void NvmeDisk::drop_queues() {
    for (Queue& queue : queues_) drop_queue(queue);
}

void NvmeDisk::disable(sim::Co& co) {
    write_register(nvme::reg_configuration, 4, 0);
    while (!gone_ && (read_register(nvme::reg_status, 4) & nvme::csts_ready) != 0) {
        machine_.wait_running(co);
        co.sleep(poll_delay);
    }
}

Status NvmeDisk::start(sim::Co& co) {
    disable(co);
    make_queue(queues_[0], admin_shape);
    make_queue(queues_[1], io_shape_);
    write_register(nvme::reg_admin_sizes, 4,
                   (admin_shape.completions - 1) << 16 | (admin_shape.submissions - 1));
    write_register(nvme::reg_admin_submission, 8, queues_[0].submissions);
    write_register(nvme::reg_admin_completion, 8, queues_[0].completions);
    write_register(nvme::reg_configuration, 4, nvme::cc_enable | 6U << 16 | 4U << 20);
    for (int polls = 0; (read_register(nvme::reg_status, 4) & nvme::csts_ready) == 0; ++polls) {
        if (polls == ready_polls_max) return failure("the controller does not become ready");
        co.sleep(poll_delay);
    }
    TRY(start_io_queue(co));
    const Bounce data(machine_, nvme::identify_bytes);
    if (data.bytes() == nullptr) return failure("the guest is out of memory");
    const nvme::Command identify{
        .opcode = nvme::identify, .name_space = 1, .prp1 = data.address(), .dw10 = 0};
    if (submit(co, true, identify) != std::uint16_t{nvme::success})
        return failure("the controller has no namespace");
    block_ = 1U << (load<std::uint8_t>(data.bytes() + 130) & 31);
    length_ = load<std::uint64_t>(data.bytes()) * block_;
    return {};
}

Status NvmeDisk::start_io_queue(sim::Co& co) {
    const Queue& queue = queues_[1];
    const nvme::Command completions{.opcode = nvme::create_completion_queue,
                                    .prp1 = queue.completions,
                                    .dw10 = 1 | (queue.shape.completions - 1) << 16,
                                    .dw11 = 3};
    const nvme::Command submissions{.opcode = nvme::create_submission_queue,
                                    .prp1 = queue.submissions,
                                    .dw10 = 1 | (queue.shape.submissions - 1) << 16,
                                    .dw11 = 1 | 1U << 16};
    for (const nvme::Command& command : {completions, submissions})
        if (submit(co, true, command) != std::uint16_t{nvme::success})
            return failure("the controller makes no queues");
    return {};
}

void NvmeDisk::cancel(Queue& queue, bool canceled) {
    for (Waiter*& waiter : queue.waiters) {
        if (waiter == nullptr) continue;
        waiter->done = true;
        waiter->canceled = canceled;
        waiter->status = nvme::internal_error;
        waiter->fiber->wake();
        waiter = nullptr;
        --in_flight_;
    }
    has_room_.wake_all();
    if (in_flight_ == 0) idle_.wake_all();
}

void NvmeDisk::cancel_all(bool canceled) {
    for (Queue& queue : queues_) cancel(queue, canceled);
}

Status NvmeDisk::remake_queue(sim::Co& co) {
    resetting_ = true;
    for (const std::uint8_t opcode : {nvme::delete_submission_queue, nvme::delete_completion_queue})
        if (submit(co, true, {.opcode = opcode, .dw10 = 1}) != std::uint16_t{nvme::success})
            return failure("the controller does not delete its queue");
    cancel(queues_[1], true);
    drop_queue(queues_[1]);
    make_queue(queues_[1], io_shape_);
    Status started = start_io_queue(co);
    resetting_ = false;
    has_room_.wake_all();
    return started;
}

Status NvmeDisk::reset(sim::Co& co, NvmeQueueShape shape) {
    resetting_ = true;
    io_shape_ = shape;
    disable(co);
    cancel_all(true);
    drop_queues();
    Status started = start(co);
    resetting_ = false;
    has_room_.wake_all();
    return started;
}

void NvmeDisk::shut_down(sim::Co& co) {
    closing_ = true;
    while (in_flight_ > 0 && !gone_) idle_.wait(co);
    if (gone_) return;
    disable(co);
    drop_queues();
    gone_ = true;
}

void NvmeDisk::surprise_removed() {
    if (gone_) return;
    gone_ = true;
    cancel_all(false);
    drop_queues();
}

// ---- commands ----------------------------------------------------------------------------------

IoResult<std::uint16_t> NvmeDisk::submit(sim::Co& co, bool admin, nvme::Command command) {
    const std::size_t index = admin ? 0 : 1;
    Queue& queue = queues_[index];
    while (true) {
        if (gone_) return Unexpected(Errno::no_medium);
        if (queue.submissions == 0) return Unexpected(Errno::canceled);
        if (!machine_.running()) {
            machine_.wait_running(co);
            continue;
        }
        if (!queue.free.empty() && (admin || !resetting_)) break;
        has_room_.wait(co);
    }
    command.id = queue.free.back();
    queue.free.pop_back();
    Waiter waiter{.fiber = &co.fiber()};
    queue.waiters[command.id] = &waiter;
    ++in_flight_;
    machine_.memory().write(queue.submissions + queue.tail * nvme::command_bytes, command);
    queue.tail = (queue.tail + 1) % queue.shape.submissions;
    write_register(nvme::reg_doorbells + index * 8, 4, queue.tail);
    while (!waiter.done) co.park("guest nvme command");
    if (gone_) return Unexpected(Errno::no_medium);
    if (waiter.canceled) return Unexpected(Errno::canceled);
    return waiter.status;
}

void NvmeDisk::on_interrupt() {
    if (gone_) return;
    for (std::size_t index = 0; index < 2; ++index) poll(index);
}

void NvmeDisk::poll(std::size_t index) {
    Queue& queue = queues_[index];
    if (queue.completions == 0) return;
    bool any = false;
    while (true) {
        const std::byte* at =
            machine_.memory().span(queue.completions, page_bytes) + queue.head * 16;
        const auto last = load<std::uint32_t>(at + 12);
        if ((last >> 16 & 1) != (queue.phase ? 1U : 0U)) break;
        any = true;
        queue.head = (queue.head + 1) % queue.shape.completions;
        if (queue.head == 0) queue.phase = !queue.phase;
        const auto id = static_cast<std::uint16_t>(last);
        if (id >= queue.waiters.size() || queue.waiters[id] == nullptr)
            continue;  // not one of ours
        Waiter& waiter = *std::exchange(queue.waiters[id], nullptr);
        queue.free.push_back(id);
        --in_flight_;
        waiter.status = static_cast<std::uint16_t>(last >> 17 & 0x7ff);
        waiter.done = true;
        waiter.fiber->wake();
        has_room_.wake_one();
    }
    if (any) write_register(nvme::reg_doorbells + index * 8 + 4, 4, queue.head);
    if (in_flight_ == 0) idle_.wake_all();
}

IoStatus NvmeDisk::io(sim::Co& co, nvme::Command command) {
    if (closing_) return Unexpected(Errno::no_medium);
    command.name_space = 1;
    const std::uint16_t status = TRY(submit(co, false, command));
    if (status == nvme::success) return {};
    return Unexpected(errno_of(status));
}

IoStatus NvmeDisk::move(sim::Co& co, std::uint64_t offset, std::byte* bytes, std::uint64_t length,
                        bool write) {
    if ((offset | length) % block_ != 0) return Unexpected(Errno::invalid);
    while (length > 0) {
        const std::uint64_t part = std::min(length, request_bytes_max);
        const std::uint64_t pages = (part + page_bytes - 1) / page_bytes;
        const Bounce bounce(machine_, pages * page_bytes), list(machine_, page_bytes);
        if (bounce.bytes() == nullptr || list.bytes() == nullptr)
            return Unexpected(Errno::no_memory);
        if (write) std::memcpy(bounce.bytes(), bytes, part);
        nvme::Command command{.opcode = write ? nvme::write : nvme::read, .prp1 = bounce.address()};
        if (pages == 2) command.prp2 = bounce.address() + page_bytes;
        if (pages > 2) {
            command.prp2 = list.address();
            for (std::uint64_t page = 1; page < pages; ++page)
                store(list.bytes() + 8 * (page - 1), bounce.address() + page * page_bytes);
        }
        command.dw10 = static_cast<std::uint32_t>(offset / block_);
        command.dw11 = static_cast<std::uint32_t>(offset / block_ >> 32);
        command.dw12 = static_cast<std::uint32_t>(part / block_ - 1);
        TRY(io(co, command));
        if (!write) std::memcpy(bytes, bounce.bytes(), part);
        bytes += part;
        offset += part;
        length -= part;
    }
    return {};
}

IoStatus NvmeDisk::read(sim::Co& co, std::uint64_t offset, std::span<std::byte> into) {
    return move(co, offset, into.data(), into.size(), false);
}

IoStatus NvmeDisk::write(sim::Co& co, std::uint64_t offset, std::span<const std::byte> from) {
    // Only copied out of.
    return move(co, offset, const_cast<std::byte*>(from.data()), from.size(), true);
}

IoStatus NvmeDisk::flush(sim::Co& co) { return io(co, {.opcode = nvme::flush}); }

IoStatus NvmeDisk::discard(sim::Co& co, std::uint64_t offset, std::uint64_t length) {
    if ((offset | length) % block_ != 0) return Unexpected(Errno::invalid);
    const Bounce range(machine_, nvme::range_bytes);
    if (range.bytes() == nullptr) return Unexpected(Errno::no_memory);
    while (length > 0) {
        const std::uint64_t part = std::min<std::uint64_t>(length, 1 << 30);
        store(range.bytes(), std::uint32_t{0});
        store(range.bytes() + 4, static_cast<std::uint32_t>(part / block_));
        store(range.bytes() + 8, offset / block_);
        TRY(io(co, {.opcode = nvme::data_set_management,
                    .prp1 = range.address(),
                    .dw10 = 0,
                    .dw11 = nvme::deallocate_attribute}));
        offset += part;
        length -= part;
    }
    return {};
}

IoStatus NvmeDisk::write_zeroes(sim::Co& co, std::uint64_t offset, std::uint64_t length,
                                bool may_unmap) {
    if ((offset | length) % block_ != 0) return Unexpected(Errno::invalid);
    while (length > 0) {
        const std::uint64_t part = std::min<std::uint64_t>(length, 0x10000ULL * block_);
        TRY(io(co, {.opcode = nvme::write_zeroes,
                    .dw10 = static_cast<std::uint32_t>(offset / block_),
                    .dw11 = static_cast<std::uint32_t>(offset / block_ >> 32),
                    .dw12 = static_cast<std::uint32_t>(part / block_ - 1) |
                            (may_unmap ? 1U << 25 : 0U)}));
        offset += part;
        length -= part;
    }
    return {};
}

namespace {

const DiskDriverRegistration registration({.model = "nvme",
                                           .open = [](sim::Co& co, Machine& machine, Device& device)
                                               -> Result<std::unique_ptr<GuestDisk>> {
                                               auto disk = TRY(NvmeDisk::attach(
                                                   co, machine, pci_function_of(device)->devfn));
                                               return std::unique_ptr<GuestDisk>(std::move(disk));
                                           }});

}  // namespace

}  // namespace hwmodels::guest
