// SPDX-License-Identifier: Apache-2.0
// nvme: a controller with one namespace, the drive it was given.
//
// A doorbell fetches commands and starts one fiber for each. Completions that find their queue full
// wait in line. Disabling the controller lets what is in flight end first; until then it is ready.
// So does the deletion of a submission queue: its memory is the guest's again when it is answered.
//
// units      logical blocks on the wire, bytes inside
// invariant  commands in flight of one queue are at most in_flight_max; no completion of an
//            earlier enabling reaches a queue
// source     NVM Express 1.4.
#include <fmt/format.h>
#include <algorithm>
#include <bit>
#include <cstring>
#include <deque>
#include <map>

#include "blocklayer/graph/backend.hpp"
#include "hwmodels/machine.hpp"
#include "hwmodels/nvme/wire.hpp"
#include "hwmodels/pci/pci_device.hpp"
#include "hwmodels/qdev/block_properties.hpp"
#include "sim/check.hpp"
#include "sim/mutant.hpp"

namespace hwmodels {
namespace {

using blocklayer::failure;
using blocklayer::RequestFlag;
using blocklayer::Status;
using sim::Errno;
using sim::IoStatus;

constexpr std::uint64_t page_bytes = 4096, bar_bytes = 16384;
constexpr std::uint32_t queue_entries_max = 2048, in_flight_max = 1024;
// Queues of up to 2048 entries, contiguous; ready within 7.5 s; NVM command set.
constexpr std::uint64_t capabilities =
    (queue_entries_max - 1) | 1ULL << 16 | 0xfULL << 24 | 1ULL << 37;
constexpr std::uint32_t version = 0x0001'0400;

struct CompletionQueue {
    std::uint64_t base = 0;
    std::uint32_t size = 0, head = 0, tail = 0;
    bool phase = true, interrupts = false;
    struct Entry {
        std::uint32_t result;
        std::uint16_t queue, command, status;
    };
    std::deque<Entry> waiting;
    bool full() const { return (tail + 1) % size == head; }
};
struct SubmissionQueue {
    std::uint64_t base = 0;
    std::uint32_t size = 0, head = 0, tail = 0, in_flight = 0;
    std::uint16_t completion = 0;
    std::uint64_t made = 0;  // distinguishes it from one of the same number before
    bool deleting = false;   // fetches nothing more
};

class Nvme final : public PciDevice {
public:
    Nvme(Machine& machine, const DeviceSpec& spec, const PciIds& ids)
        : PciDevice(machine, spec, ids), drive_(*this) {}

    Status set_drive(std::string_view name) override {
        return drive_.attach(name, spec().name, machine().world().main_thread(), {});
    }
    Status change_drive(sim::Co&, std::string_view name) override { return drive_.change(name); }
    blocklayer::BlockBackend* backend() const override { return drive_.backend(); }
    Status realize(sim::Co& co) override;
    void unrealize(sim::Co& co) override;
    void reset() override { disable(); }
    void run_state_changed(bool running) override {
        if (running) serve_all();
    }
    std::uint64_t bar_read(std::uint32_t bar, std::uint64_t offset, std::uint32_t size) override;
    void bar_write(std::uint32_t bar, std::uint64_t offset, std::uint32_t size,
                   std::uint64_t value) override;

private:
    void write_register(std::uint64_t offset, std::uint32_t size, std::uint64_t value);
    void doorbell(std::uint64_t index, std::uint32_t value);
    void enable();
    void disable();
    void finish_disable();
    void fatal() { status_ |= nvme::csts_fatal; }
    void serve_all();
    void serve(std::uint16_t id);
    void run(sim::Co& co, std::uint16_t queue, std::uint64_t made, const nvme::Command& command);
    void end_command();
    void complete(std::uint16_t queue, std::uint64_t made, const nvme::Command& command,
                  std::uint16_t status, std::uint32_t result);
    void flush_waiting(CompletionQueue& queue);
    void update_interrupt();
    // The memory a command's pages describe. False: not there, or not as the rules have it.
    bool map(const nvme::Command& command, std::uint64_t bytes,
             std::vector<sim::IoVec>& list) const;
    std::uint16_t admin(sim::Co& co, const nvme::Command& command, std::uint32_t& result);
    std::uint16_t create_queue(const nvme::Command& command);
    std::uint16_t delete_submissions(sim::Co& co, std::uint16_t id);
    std::uint16_t delete_completions(std::uint16_t id);
    std::uint16_t identify(const nvme::Command& command);
    std::uint16_t feature(const nvme::Command& command, std::uint32_t& result);
    std::uint16_t reply(const nvme::Command& command, const std::vector<std::byte>& bytes) const;
    std::uint16_t io(sim::Co& co, const nvme::Command& command);
    std::uint16_t trim(sim::Co& co, const nvme::Command& command);
    std::uint64_t blocks() const { return drive_.backend()->length() / block_; }

    Drive drive_;
    std::uint32_t block_ = 512;
    std::uint32_t configuration_ = 0, status_ = 0, admin_sizes_ = 0, masked_ = 0;
    std::uint64_t admin_submission_ = 0, admin_completion_ = 0;
    std::map<std::uint16_t, SubmissionQueue> submissions_;
    std::map<std::uint16_t, CompletionQueue> completions_;
    std::uint64_t in_flight_ = 0, made_ = 0;
    bool disabling_ = false, gone_ = false;
    sim::WaitQueue idle_{"nvme commands"}, ended_{"commands of an nvme queue"};
};

// ---- life --------------------------------------------------------------------------------------

Status Nvme::realize(sim::Co&) {
    if (properties().text("serial").empty()) return failure("serial property not set");
    const std::uint64_t pairs = properties().number("max_ioqpairs");
    if (pairs < 1 || pairs > UINT16_MAX) return failure("max_ioqpairs must be between 1 and 65535");
    TRY(join_bus());
    if (drive_.backend() != nullptr) {
        const ReadOnlyMedium read_only =
            drive_.backend()->read_only() ? ReadOnlyMedium::yes : ReadOnlyMedium::no;
        Status taken = drive_.backend()->has_medium()
                           ? drive_.check_sizes()
                           : failure("Device needs media, but drive is empty");
        if (taken) taken = drive_.take_permissions(read_only, Resizable::no);
        if (!taken) {
            leave_bus();
            return taken;
        }
        block_ = drive_.logical_block_size();
    }
    add_bar(0, BarKind::memory64, bar_bytes);
    announce();
    return {};
}

void Nvme::unrealize(sim::Co& co) {
    leave_bus();
    gone_ = true;
    disable();
    while (in_flight_ > 0 && !sim::mutant<"nvme: unplugged under its commands">()) idle_.wait(co);
    ENSURES(in_flight_ == 0);  // they would use a controller that is no more
    drive_.drop();
}

void Nvme::enable() {
    const std::uint32_t sq = (admin_sizes_ & 0xfff) + 1, cq = (admin_sizes_ >> 16 & 0xfff) + 1;
    const bool fits = (configuration_ >> 4 & 7) == 0 && (configuration_ >> 7 & 15) == 0 &&
                      admin_submission_ % page_bytes == 0 && admin_completion_ % page_bytes == 0;
    if (!fits || sq < 2 || cq < 2) {
        fatal();
        return;
    }
    submissions_[0] = {.base = admin_submission_, .size = sq, .made = ++made_};
    completions_[0] = {.base = admin_completion_, .size = cq, .interrupts = true};
    status_ = nvme::csts_ready;
}

void Nvme::disable() {
    submissions_.clear();
    completions_.clear();
    ended_.wake_all();
    configuration_ &= ~nvme::cc_enable;
    update_interrupt();
    disabling_ = true;
    if (in_flight_ == 0 || sim::mutant<"nvme: disabling does not wait">()) finish_disable();
}

void Nvme::finish_disable() {
    disabling_ = false;
    status_ = 0;
    masked_ = 0;
}

// ---- registers ---------------------------------------------------------------------------------

std::uint64_t Nvme::bar_read(std::uint32_t bar, std::uint64_t offset, std::uint32_t size) {
    if (bar != 0) return ~0ULL;
    const auto wide = [&](std::uint64_t value, std::uint64_t at) {
        return size == 8 ? value : value >> (8 * (offset - at));
    };
    if (offset < nvme::reg_version) return wide(capabilities, nvme::reg_capabilities);
    switch (offset) {
    case nvme::reg_version: return version;
    case nvme::reg_mask_set:
    case nvme::reg_mask_clear: return masked_;
    case nvme::reg_configuration: return configuration_;
    case nvme::reg_status: return status_;
    case nvme::reg_admin_sizes: return admin_sizes_;
    case nvme::reg_admin_submission:
    case nvme::reg_admin_submission + 4: return wide(admin_submission_, 0x28);
    case nvme::reg_admin_completion:
    case nvme::reg_admin_completion + 4: return wide(admin_completion_, 0x30);
    default: return 0;
    }
}

void Nvme::bar_write(std::uint32_t bar, std::uint64_t offset, std::uint32_t size,
                     std::uint64_t value) {
    if (bar != 0) return;
    if (offset < nvme::reg_doorbells)
        write_register(offset, size, value);
    else if (size == 4 && offset % 4 == 0)
        doorbell((offset - nvme::reg_doorbells) / 4, static_cast<std::uint32_t>(value));
}

void Nvme::write_register(std::uint64_t offset, std::uint32_t size, std::uint64_t value) {
    const auto word = static_cast<std::uint32_t>(value);
    const auto half = [&](std::uint64_t& address, std::uint64_t base) {
        if (size == 8 && offset == base) {
            address = value;
        } else if (offset == base) {
            address = (address & ~0xffff'ffffULL) | word;
        } else {
            address = (address & 0xffff'ffffULL) | std::uint64_t{word} << 32;
        }
    };
    switch (offset) {
    case nvme::reg_mask_set: masked_ |= word; break;
    case nvme::reg_mask_clear: masked_ &= ~word; break;
    case nvme::reg_configuration: {
        const bool was = (configuration_ & nvme::cc_enable) != 0,
                   is = (word & nvme::cc_enable) != 0;
        if (disabling_) return;
        configuration_ = word;
        if (!was && is) enable();
        if (was && !is) disable();
        return;
    }
    case nvme::reg_admin_sizes: admin_sizes_ = word; break;
    case nvme::reg_admin_submission:
    case nvme::reg_admin_submission + 4: half(admin_submission_, 0x28); break;
    case nvme::reg_admin_completion:
    case nvme::reg_admin_completion + 4: half(admin_completion_, 0x30); break;
    default: break;
    }
    update_interrupt();
}

void Nvme::doorbell(std::uint64_t index, std::uint32_t value) {
    const auto id = static_cast<std::uint16_t>(index / 2);
    if (index % 2 == 0) {
        const auto found = submissions_.find(id);
        if (found == submissions_.end() || value >= found->second.size) return;
        found->second.tail = value;
        serve(id);
        return;
    }
    const auto found = completions_.find(id);
    if (found == completions_.end() || value >= found->second.size) return;
    found->second.head = value;
    if (!sim::mutant<"nvme: room for completions is not used">()) flush_waiting(found->second);
    update_interrupt();
}

void Nvme::update_interrupt() {
    const bool any = std::any_of(completions_.begin(), completions_.end(), [](const auto& one) {
        return one.second.interrupts && one.second.head != one.second.tail;
    });
    set_intx(any && (masked_ & 1) == 0);
}

// ---- queues ------------------------------------------------------------------------------------

void Nvme::serve_all() {
    std::vector<std::uint16_t> ids;
    for (const auto& [id, queue] : submissions_) ids.push_back(id);
    for (const std::uint16_t id : ids) serve(id);
}

void Nvme::serve(std::uint16_t id) {
    SubmissionQueue& queue = submissions_.at(id);
    while (machine().running() && !queue.deleting && queue.head != queue.tail &&
           queue.in_flight < in_flight_max) {
        nvme::Command command;
        if (!machine().memory().read(queue.base + queue.head * nvme::command_bytes, command)) {
            fatal();
            return;
        }
        queue.head = (queue.head + 1) % queue.size;
        ++queue.in_flight;
        ++in_flight_;
        machine().command_begun();
        machine().world().spawn(
            machine().world().main_thread(), "nvme command",
            [this, id, made = queue.made, command](sim::Co& co) { run(co, id, made, command); });
    }
}

void Nvme::run(sim::Co& co, std::uint16_t queue, std::uint64_t made, const nvme::Command& command) {
    machine().command_arrived();
    const auto its_queue = submissions_.find(queue);
    if (its_queue == submissions_.end() || its_queue->second.made != made) {
        end_command();  // disabled before it began: its memory is the guest's again
        return;
    }
    std::uint32_t result = 0;
    // An event request has no answer until there is an event, and there is none.
    const bool silent = queue == 0 && command.opcode == nvme::async_event_request;
    const std::uint16_t status = silent       ? 0
                                 : queue == 0 ? admin(co, command, result)
                                              : io(co, command);
    if (!silent) complete(queue, made, command, status, result);
    end_command();
}

void Nvme::end_command() {
    if (--in_flight_ > 0) return;
    idle_.wake_all();
    if (disabling_) finish_disable();
}

void Nvme::complete(std::uint16_t id, std::uint64_t made, const nvme::Command& command,
                    std::uint16_t status, std::uint32_t result) {
    const auto found = submissions_.find(id);
    if (found == submissions_.end() || found->second.made != made) return;  // deleted meanwhile
    SubmissionQueue& queue = found->second;
    --queue.in_flight;
    ended_.wake_all();
    const auto where = completions_.find(queue.completion);
    if (where == completions_.end()) return;
    where->second.waiting.push_back({result, id, command.id, status});
    flush_waiting(where->second);
    update_interrupt();
    if (!gone_) serve(id);
}

void Nvme::flush_waiting(CompletionQueue& queue) {
    while (!queue.waiting.empty() &&
           (!queue.full() || sim::mutant<"nvme: completions overwrite a full queue">())) {
        const CompletionQueue::Entry entry = queue.waiting.front();
        queue.waiting.pop_front();
        std::byte* at = machine().memory().span(queue.base + queue.tail * nvme::completion_bytes,
                                                nvme::completion_bytes);
        if (at == nullptr) {
            fatal();
            return;
        }
        const auto submission = submissions_.find(entry.queue);
        const std::uint32_t head = submission == submissions_.end() ? 0 : submission->second.head;
        std::uint16_t status = entry.status;
        if (status != nvme::success) status |= nvme::do_not_retry;
        store(at, entry.result);
        store(at + 4, std::uint32_t{0});
        store(at + 8, head | std::uint32_t{entry.queue} << 16);
        store(at + 12,
              entry.command |
                  std::uint32_t{static_cast<std::uint16_t>(status << 1 | (queue.phase ? 1 : 0))}
                      << 16);
        queue.tail = (queue.tail + 1) % queue.size;
        if (queue.tail == 0 && !sim::mutant<"nvme: the phase does not turn">())
            queue.phase = !queue.phase;
    }
}

bool Nvme::map(const nvme::Command& command, std::uint64_t bytes,
               std::vector<sim::IoVec>& list) const {
    list.clear();
    const GuestMemory& memory = machine().memory();
    const auto add = [&](std::uint64_t address) {
        const std::uint64_t part = std::min(bytes, page_bytes - address % page_bytes);
        std::byte* at = memory.span(address, part);
        if (at == nullptr) return false;
        list.push_back({at, part});
        bytes -= part;
        return true;
    };
    if (!add(command.prp1)) return false;
    if (bytes == 0) return true;
    if (bytes <= page_bytes) return command.prp2 % page_bytes == 0 && add(command.prp2);
    // Longer transfers name their pages in lists; the last entry of a full one leads to the next.
    std::uint64_t at = command.prp2;
    while (bytes > 0) {
        std::uint64_t entry = 0;
        if (at % 8 != 0 || !memory.read(at, entry) || entry % page_bytes != 0) return false;
        const bool last_of_page = at % page_bytes == page_bytes - 8;
        if (last_of_page && bytes > page_bytes) {
            at = entry;
            continue;
        }
        if (!add(entry)) return false;
        at += 8;
    }
    return true;
}

// ---- administration ----------------------------------------------------------------------------

std::uint16_t Nvme::admin(sim::Co& co, const nvme::Command& command, std::uint32_t& result) {
    const auto queue = static_cast<std::uint16_t>(command.dw10);
    switch (command.opcode) {
    case nvme::create_submission_queue:
    case nvme::create_completion_queue: return create_queue(command);
    case nvme::delete_submission_queue: return delete_submissions(co, queue);
    case nvme::delete_completion_queue: return delete_completions(queue);
    case nvme::identify: return identify(command);
    case nvme::set_features:
    case nvme::get_features: return feature(command, result);
    case nvme::abort: result = 1; return nvme::success;  // it was not aborted
    case nvme::get_log_page: {
        const std::uint64_t bytes =
            ((command.dw10 >> 16 | (command.dw11 & 0xffff) << 16) + 1ULL) * 4;
        if (bytes > page_bytes || (command.dw10 & 0xff) > 3) return nvme::invalid_field;
        return reply(command, std::vector<std::byte>(bytes));
    }
    default: return nvme::invalid_opcode;
    }
}

std::uint16_t Nvme::create_queue(const nvme::Command& command) {
    const auto id = static_cast<std::uint16_t>(command.dw10);
    const std::uint32_t size = (command.dw10 >> 16) + 1;
    const bool submission = command.opcode == nvme::create_submission_queue;
    const std::uint64_t most = properties().number("max_ioqpairs");
    const bool taken = submission ? submissions_.contains(id) : completions_.contains(id);
    if (id == 0 || id > most || taken) return nvme::invalid_queue_id;
    if (size < 2 || size > queue_entries_max) return nvme::invalid_queue_size;
    if (command.prp1 % page_bytes != 0 || (command.dw11 & 1) == 0) return nvme::invalid_field;
    if (!submission) {
        completions_[id] = {
            .base = command.prp1, .size = size, .interrupts = (command.dw11 & 2) != 0};
        return nvme::success;
    }
    const auto completion = static_cast<std::uint16_t>(command.dw11 >> 16);
    if (completion == 0 || !completions_.contains(completion))
        return nvme::invalid_completion_queue;
    submissions_[id] = {
        .base = command.prp1, .size = size, .completion = completion, .made = ++made_};
    return nvme::success;
}

std::uint16_t Nvme::delete_submissions(sim::Co& co, std::uint16_t id) {
    const auto queue = submissions_.find(id);
    if (id == 0 || queue == submissions_.end() || queue->second.deleting)
        return nvme::invalid_queue_id;
    queue->second.deleting = true;
    const std::uint64_t made = queue->second.made;
    while (true) {
        const auto now = submissions_.find(id);  // it goes when the controller is disabled
        if (now == submissions_.end() || now->second.made != made) return nvme::success;
        if (now->second.in_flight == 0 || sim::mutant<"nvme: a queue goes under its commands">())
            break;
        ended_.wait(co);
    }
    submissions_.erase(id);
    return nvme::success;
}

std::uint16_t Nvme::delete_completions(std::uint16_t id) {
    if (id == 0) return nvme::invalid_queue_id;
    if (!completions_.contains(id)) return nvme::invalid_queue_id;
    const bool used = std::any_of(submissions_.begin(), submissions_.end(),
                                  [&](const auto& one) { return one.second.completion == id; });
    if (used) return nvme::invalid_queue_deletion;
    completions_.erase(id);
    update_interrupt();
    return nvme::success;
}

std::uint16_t Nvme::reply(const nvme::Command& command, const std::vector<std::byte>& bytes) const {
    std::vector<sim::IoVec> list;
    if (!map(command, bytes.size(), list)) return nvme::invalid_field;
    sim::IoView(std::span<const sim::IoVec>(list)).copy_from(bytes.data());
    return nvme::success;
}

std::uint16_t Nvme::identify(const nvme::Command& command) {
    std::vector<std::byte> out(nvme::identify_bytes);
    const auto text = [&](std::size_t at, std::size_t size, const std::string& what) {
        std::memset(&out[at], ' ', size);
        std::memcpy(&out[at], what.data(), std::min(size, what.size()));
    };
    const bool there = drive_.backend() != nullptr;
    switch (command.dw10 & 0xff) {
    case nvme::cns_namespace:
        if (command.name_space != 1 || !there) return nvme::invalid_namespace;
        for (const std::size_t at : {0, 8, 16}) store(&out[at], blocks());
        out[24] = std::byte{4};  // deallocated blocks are reported
        out[128 + 2] = static_cast<std::byte>(std::countr_zero(block_));
        return reply(command, out);
    case nvme::cns_controller:
        store(&out[0], std::uint16_t{0x1b36});
        store(&out[2], std::uint16_t{0x1af4});
        text(4, 20, properties().text("serial"));
        text(24, 40, "QEMU NVMe Ctrl");
        text(64, 8, "7.2.22");
        out[77] = static_cast<std::byte>(properties().number("mdts"));
        store(&out[80], version);
        out[512] = std::byte{0x66};
        out[513] = std::byte{0x44};
        store(&out[516], std::uint32_t{256});
        store(&out[520], std::uint16_t{0x0c});  // data set management, write zeroes
        out[525] = std::byte{1};                // a volatile write cache
        return reply(command, out);
    case nvme::cns_active:
        if (there && command.name_space < 1) store(&out[0], std::uint32_t{1});
        return reply(command, out);
    default: return nvme::invalid_field;
    }
}

std::uint16_t Nvme::feature(const nvme::Command& command, std::uint32_t& result) {
    const bool set = command.opcode == nvme::set_features;
    switch (command.dw10 & 0xff) {
    case nvme::feature_queues: {
        const auto most = static_cast<std::uint32_t>(properties().number("max_ioqpairs") - 1);
        result = most | most << 16;
        return nvme::success;
    }
    case nvme::feature_write_cache:
        if (drive_.backend() == nullptr) return nvme::invalid_field;
        if (set) drive_.backend()->write_cache = (command.dw11 & 1) != 0;
        result = drive_.backend()->write_cache ? 1 : 0;
        return nvme::success;
    default: return nvme::invalid_field;
    }
}

// ---- the medium --------------------------------------------------------------------------------

std::uint16_t Nvme::io(sim::Co& co, const nvme::Command& command) {
    if (command.opcode == nvme::flush) {
        if (drive_.backend() == nullptr) return nvme::success;
        return drive_.backend()->flush(co) ? nvme::success : nvme::internal_error;
    }
    if (drive_.backend() == nullptr || command.name_space != 1) return nvme::invalid_namespace;
    if (command.opcode == nvme::data_set_management) return trim(co, command);
    const bool reads = command.opcode == nvme::read, writes = command.opcode == nvme::write;
    if (!reads && !writes && command.opcode != nvme::write_zeroes) return nvme::invalid_opcode;
    const std::uint64_t count = command.blocks(), bytes = count * block_;
    if (command.lba() > blocks() || count > blocks() - command.lba()) return nvme::lba_out_of_range;
    if (!reads && drive_.backend()->read_only()) return nvme::read_only;
    const std::uint64_t offset = command.lba() * block_;
    blocklayer::RequestFlags flags;
    if ((command.dw12 & nvme::force_unit_access) != 0) flags = RequestFlag::fua;
    if (!reads && !writes) {
        if ((command.dw12 & 1U << 25) != 0) flags = flags | RequestFlag::may_unmap;
        return drive_.backend()->write_zeroes(co, offset, bytes, flags) ? nvme::success
                                                                        : nvme::write_fault;
    }
    // 0: as much as a command can name.
    const std::uint64_t mdts = properties().number("mdts");
    const std::uint64_t most = mdts == 0 || mdts > 16 ? UINT32_MAX : page_bytes << mdts;
    std::vector<sim::IoVec> list;
    if (bytes > most || !map(command, bytes, list)) return nvme::invalid_field;
    const sim::IoView data{std::span<const sim::IoVec>(list)};
    const IoStatus done = reads ? drive_.backend()->read(co, offset, data)
                                : drive_.backend()->write(co, offset, data, flags);
    if (done) return nvme::success;
    if (done.error() == Errno::no_space) return nvme::capacity_exceeded;
    return reads ? nvme::unrecovered_read : nvme::write_fault;
}

std::uint16_t Nvme::trim(sim::Co& co, const nvme::Command& command) {
    const std::uint64_t count = (command.dw10 & 0xff) + 1ULL;
    std::vector<sim::IoVec> list;
    if (!map(command, count * nvme::range_bytes, list)) return nvme::invalid_field;
    std::vector<std::byte> ranges(count * nvme::range_bytes);
    sim::IoView(std::span<const sim::IoVec>(list)).copy_to(ranges.data());
    if ((command.dw11 & nvme::deallocate_attribute) == 0) return nvme::success;
    if (drive_.backend()->read_only()) return nvme::read_only;
    for (std::uint64_t i = 0; i < count; ++i) {
        const std::byte* at = ranges.data() + i * nvme::range_bytes;
        const auto length = load<std::uint32_t>(at + 4);
        const auto lba = load<std::uint64_t>(at + 8);
        if (lba > blocks() || length > blocks() - lba) return nvme::lba_out_of_range;
        if (length > 0 &&
            !drive_.backend()->discard(co, lba * block_, std::uint64_t{length} * block_))
            return nvme::write_fault;
    }
    return nvme::success;
}

const DeviceRegistration registration({
    .name = "nvme",
    .bus = "PCI",
    .properties = block_properties() + pci_properties() +
                  std::vector<PropertySpec>{
                      {"serial", PropertyKind::string, ""},
                      {"cmb_size_mb", PropertyKind::uint32, 0},
                      {"num_queues", PropertyKind::uint32, 0},
                      {"max_ioqpairs", PropertyKind::uint32, 64},
                      {"msix_qsize", PropertyKind::uint16, 65},
                      {"aer_max_queued", PropertyKind::uint32, 64},
                      {"mdts", PropertyKind::uint16, 7},
                      {"use-intel-id", PropertyKind::boolean, false},
                  },
    .make = [](Machine& machine, const DeviceSpec& spec) -> std::unique_ptr<Device> {
        const PciIds ids{0x1b36, 0x0010, 0x1af4, 0x1100, 2, 0x010802, true};
        return std::make_unique<Nvme>(machine, spec, ids);
    },
    .source = "NVM Express 1.4",
});

}  // namespace
}  // namespace hwmodels
