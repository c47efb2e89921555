// SPDX-License-Identifier: Apache-2.0
#include "hwmodels/guest/virtio_blk.hpp"

#include <algorithm>
#include <cstring>

#include "hwmodels/guest/open_disk.hpp"
#include "hwmodels/virtio/pci_transport.hpp"
#include "sim/check.hpp"
#include "sim/fiber.hpp"

namespace hwmodels::guest {

using blocklayer::failure;
using blocklayer::Result;
using blocklayer::Status;
using sim::Errno;
using sim::IoStatus;
using sim::Unexpected;

namespace {

// Per slot: a header of 16 bytes, the range of a discard, the status byte.
constexpr std::uint64_t slot_bytes = 64, range_bytes = 16, status_at = 32, header_bytes = 16;
constexpr std::uint8_t status_ok = 0, status_unsupported = 2, status_unset = 0xff;
constexpr std::uint64_t sector = 512;
constexpr std::uint64_t feature_ro = 1 << 5, feature_mq = 1 << 12;
constexpr std::uint16_t pci_device_transitional = 0x1001, pci_device_modern = 0x1042;
constexpr std::uint64_t serial_bytes = 20;

}  // namespace

Result<std::unique_ptr<VirtioBlk>> VirtioBlk::attach(sim::Co& co, Machine& machine, int devfn,
                                                     const BlkOptions& options) {
    auto driver = TRY(VirtioPciDriver::probe(machine, devfn));
    const std::uint16_t id = driver->pci_device_id();
    if (id != pci_device_transitional && id != pci_device_modern)
        return failure("not a virtio block device");
    std::unique_ptr<VirtioBlk> disk(new VirtioBlk(std::move(driver), options));
    TRY(disk->start(co));
    return disk;
}

Result<std::unique_ptr<VirtioBlk>> VirtioBlk::attach(sim::Co& co, Machine& machine,
                                                     std::string_view device_id,
                                                     const BlkOptions& options) {
    const Device* device = machine.find_device(device_id);
    const PciFunction* function = device != nullptr ? device->pci_function() : nullptr;
    if (function == nullptr) return failure("no such PCI device");
    return attach(co, machine, function->devfn, options);
}

VirtioBlk::VirtioBlk(std::unique_ptr<VirtioPciDriver> driver, const BlkOptions& options)
    : driver_(std::move(driver)),
      buffers_at_(heap_of(driver_->machine()).take(buffer_bytes)),
      buffers_(driver_->machine().memory(), buffers_at_, buffers_at_ == 0 ? 0 : buffer_bytes),
      options_(options) {
    if (heap_of(driver_->machine()).watched()) buffers_.watch();
}

VirtioBlk::~VirtioBlk() {
    // The rings' memory is about to be used for something else: the device must not see them.
    if (!gone_ && driver_->queue_count() > 0)
        driver_->write_common(virtio_pci::device_status, 1, 0);
    drop_queues();
    if (buffers_at_ != 0) heap_of(driver_->machine()).give_back(buffers_at_);
}

Status VirtioBlk::start(sim::Co& co) {
    const std::uint64_t features = driver_->device_features() & ~options_.features_off;
    TRY(driver_->negotiate(co, features));
    const std::size_t count = (features & feature_mq) != 0 ? driver_->config(34, 2) : 1;
    Machine& machine = driver_->machine();
    for (std::size_t index = 0; index < std::min<std::size_t>(count, options_.queues_max);
         ++index) {
        TRY(driver_->setup_queue(index, options_.queue_size_max,
                                 [this, index] { on_interrupt(index); }));
        auto queue = std::make_unique<Queue>();
        const std::uint16_t size = driver_->ring(index).slots();
        queue->headers = heap_of(machine).take(size * slot_bytes);
        if (queue->headers == 0) return failure("the guest is out of memory");
        queue->slots.resize(size);
        for (std::uint16_t slot = 0; slot < size; ++slot) {
            const GuestAddress at = queue->headers + slot * slot_bytes;
            queue->slots[slot].header = machine.memory().span(at, slot_bytes);
            queue->slots[slot].status = queue->slots[slot].header + status_at;
            queue->free.push_back(static_cast<std::uint16_t>(size - 1 - slot));
        }
        queues_.push_back(std::move(queue));
    }
    driver_->set_config_handler([] {});
    driver_->driver_ok();
    block_size_ = static_cast<std::uint32_t>(driver_->config(20, 4));
    return {};
}

void VirtioBlk::drop_queues() {
    for (const auto& queue : queues_) heap_of(driver_->machine()).give_back(queue->headers);
    queues_.clear();
}

std::uint64_t VirtioBlk::length() const { return gone_ ? 0 : driver_->config(0, 8) * sector; }

bool VirtioBlk::read_only() const { return (driver_->features() & feature_ro) != 0; }

void VirtioBlk::set_write_cache(bool on) { driver_->write_config(32, 1, on ? 1 : 0); }

bool VirtioBlk::put(std::size_t index, BlkOp op, std::uint64_t offset, GuestAddress data,
                    std::uint32_t length, std::uint64_t tag, Waiter* waiter) {
    Queue& queue = *queues_[index];
    if (queue.free.empty()) return false;
    const std::uint16_t number = queue.free.back();
    queue.free.pop_back();
    Slot& slot = queue.slots[number];
    store(slot.header, static_cast<std::uint32_t>(op));
    store(slot.header + 4, std::uint32_t{0});
    store(slot.header + 8, offset / sector);
    store(slot.status, status_unset);
    slot.tag = tag;
    slot.waiter = waiter;
    ++in_flight_;
    Ring& ring = driver_->ring(index);
    const bool same = slot.shaped && slot.op == op && slot.data == data && slot.length == length;
    if (same) {
        ring.add_again(number);
        return true;
    }
    slot.op = op;
    slot.data = data;
    slot.length = length;
    slot.shaped = true;
    const GuestAddress at = queue.headers + number * slot_bytes;
    const bool device_writes = op == BlkOp::read || op == BlkOp::get_id;
    segments_.assign(1, {at, header_bytes, false});
    const std::uint64_t pieces_max = ring.segments_max() - 2;
    std::uint64_t piece = options_.segment_bytes_max == 0 ? length : options_.segment_bytes_max;
    piece = std::max<std::uint64_t>(piece, (length + pieces_max - 1) / pieces_max);
    for (std::uint64_t done = 0; done < length; done += piece)
        segments_.push_back(
            {data + done, static_cast<std::uint32_t>(std::min<std::uint64_t>(piece, length - done)),
             device_writes});
    segments_.push_back({at + status_at, 1, true});
    ring.add(number, segments_);
    return true;
}

bool VirtioBlk::submit(std::size_t index, BlkOp op, std::uint64_t offset, GuestAddress data,
                       std::uint32_t length, std::uint64_t tag) {
    EXPECTS(index < queues_.size() && !gone_ && !closing_);
    return put(index, op, offset, data, length, tag, nullptr);
}

void VirtioBlk::on_interrupt(std::size_t index) {
    if (index >= queues_.size()) return;
    if (handler_) driver_->machine().world().touch(sim::Place());
    Queue& queue = *queues_[index];
    driver_->ring(index).poll([&](std::uint16_t number, std::uint32_t) {
        Slot& slot = queue.slots[number];
        const auto status = load<std::uint8_t>(slot.status);
        queue.free.push_back(number);
        --in_flight_;
        if (slot.waiter == nullptr) {
            if (handler_) handler_(slot.tag, status);
            return;
        }
        Waiter& waiter = *std::exchange(slot.waiter, nullptr);
        waiter.done = true;
        if (status != status_ok)
            waiter.status =
                Unexpected(status == status_unsupported ? Errno::not_supported : Errno::io);
        waiter.fiber->wake();
        queue.has_room.wake_one();
    });
    if (in_flight_ == 0) idle_.wake_all();
}

IoStatus VirtioBlk::request(sim::Co& co, BlkOp op, std::uint64_t offset, GuestAddress data,
                            std::uint32_t length) {
    driver_->machine().wait_running(co);
    if (queues_.empty() && !gone_ && !closing_) return Unexpected(Errno::canceled);
    Waiter waiter{.fiber = &co.fiber(), .status = {}};
    while (true) {
        if (gone_ || closing_) return Unexpected(Errno::no_medium);
        if (queues_.empty()) return Unexpected(Errno::canceled);
        // Requests go round over the queues, as those of several CPUs would.
        next_queue_ = (next_queue_ + 1) % queues_.size();
        const std::size_t index = next_queue_;
        if (put(index, op, offset, data, length, 0, &waiter)) {
            driver_->kick(index);
            break;
        }
        queues_[index]->has_room.wait(co);
    }
    while (!waiter.done) co.park("guest disk request");
    return waiter.status;
}

IoStatus VirtioBlk::read(sim::Co& co, std::uint64_t offset, std::span<std::byte> into) {
    while (!into.empty()) {
        const std::size_t part = std::min<std::uint64_t>(into.size(), options_.request_bytes_max);
        const Bounce bounce(driver_->machine(), &buffers_, part);
        if (bounce.bytes() == nullptr) return Unexpected(Errno::no_memory);
        TRY(request(co, BlkOp::read, offset, bounce.address(), static_cast<std::uint32_t>(part)));
        std::memcpy(into.data(), bounce.bytes(), part);
        into = into.subspan(part);
        offset += part;
    }
    return {};
}

IoStatus VirtioBlk::write(sim::Co& co, std::uint64_t offset, std::span<const std::byte> from) {
    while (!from.empty()) {
        const std::size_t part = std::min<std::uint64_t>(from.size(), options_.request_bytes_max);
        const Bounce bounce(driver_->machine(), &buffers_, part);
        if (bounce.bytes() == nullptr) return Unexpected(Errno::no_memory);
        std::memcpy(bounce.bytes(), from.data(), part);
        TRY(request(co, BlkOp::write, offset, bounce.address(), static_cast<std::uint32_t>(part)));
        from = from.subspan(part);
        offset += part;
    }
    return {};
}

IoStatus VirtioBlk::flush(sim::Co& co) { return request(co, BlkOp::flush, 0, 0, 0); }

IoStatus VirtioBlk::range_request(sim::Co& co, BlkOp op, std::uint64_t offset, std::uint64_t length,
                                  std::uint32_t flags) {
    const std::uint64_t limit = driver_->config(op == BlkOp::discard ? 36 : 48, 4) * sector;
    while (length > 0) {
        if (gone_) return Unexpected(Errno::no_medium);
        const std::uint64_t part = std::min(length, std::max(limit, sector));
        const Bounce bounce(driver_->machine(), &buffers_, range_bytes);
        if (bounce.bytes() == nullptr) return Unexpected(Errno::no_memory);
        store(bounce.bytes(), offset / sector);
        store(bounce.bytes() + 8, static_cast<std::uint32_t>(part / sector));
        store(bounce.bytes() + 12, flags);
        TRY(request(co, op, 0, bounce.address(), range_bytes));
        offset += part;
        length -= part;
    }
    return {};
}

IoStatus VirtioBlk::discard(sim::Co& co, std::uint64_t offset, std::uint64_t length) {
    return range_request(co, BlkOp::discard, offset, length, 0);
}

IoStatus VirtioBlk::write_zeroes(sim::Co& co, std::uint64_t offset, std::uint64_t length,
                                 bool may_unmap) {
    return range_request(co, BlkOp::write_zeroes, offset, length, may_unmap ? 1 : 0);
}

sim::IoResult<std::string> VirtioBlk::serial(sim::Co& co) {
    const Bounce bounce(driver_->machine(), &buffers_, serial_bytes);
    if (bounce.bytes() == nullptr) return Unexpected(Errno::no_memory);
    TRY(request(co, BlkOp::get_id, 0, bounce.address(), serial_bytes));
    const char* text = reinterpret_cast<const char*>(bounce.bytes());
    return std::string(text, strnlen(text, serial_bytes));
}

void VirtioBlk::shut_down(sim::Co& co) {
    closing_ = true;
    while (in_flight_ > 0 && !gone_) idle_.wait(co);
    if (gone_) return;
    driver_->reset(co);
    drop_queues();
    gone_ = true;
}

void VirtioBlk::fail_all(Errno error) {
    for (const auto& queue : queues_) {
        for (std::uint16_t number = 0; number < queue->slots.size(); ++number) {
            Slot& slot = queue->slots[number];
            if (slot.waiter == nullptr) continue;
            Waiter& waiter = *std::exchange(slot.waiter, nullptr);
            waiter.done = true;
            waiter.status = Unexpected(error);
            waiter.fiber->wake();
        }
        queue->has_room.wake_all();
    }
    in_flight_ = 0;
    idle_.wake_all();
}

void VirtioBlk::surprise_removed() {
    if (gone_) return;
    gone_ = true;
    fail_all(Errno::no_medium);
    driver_->forget();
    drop_queues();
}

Status VirtioBlk::reset(sim::Co& co) {
    driver_->reset(co);
    fail_all(Errno::canceled);
    drop_queues();
    return start(co);
}

namespace {

const DiskDriverRegistration registration({.model = "virtio-blk-pci",
                                           .open = [](sim::Co& co, Machine& machine, Device& device)
                                               -> Result<std::unique_ptr<GuestDisk>> {
                                               auto disk = TRY(VirtioBlk::attach(
                                                   co, machine, pci_function_of(device)->devfn));
                                               return std::unique_ptr<GuestDisk>(std::move(disk));
                                           }});

}  // namespace

}  // namespace hwmodels::guest
